"""The README.md of a dataset loads with `datasets`; schema.json says what the columns mean."""

import json

import pytest
import yaml
from datasets import load_dataset

from docs.make_samples import EXAMPLE
from sllm_data.config import resolve
from sllm_data.errors import ShardError
from sllm_data.shards import TABLES, Manifest, part_name, write_manifest, write_part
from sllm_data.steps.card import write_card
from sllm_data.steps.dataset import Dataset, open_dataset
from sllm_data.steps.rows import sample_row
from tests.shards.random_rows import some_rows


def opened(root, *, engine: str = "scripted") -> Dataset:
    document = {
        "seed": 1,
        "output": str(root),
        "corpora": [
            {"kind": "librispeech", "path": "a"},
            {"kind": "common_voice", "path": "b"},
            {"kind": "librispeech", "path": "c"},
        ],
        "backbone": {"engine": engine},
    }
    return open_dataset(resolve(document, where="x"))


def finish(dataset: Dataset, step: str, table: str, rows, **extra: str) -> None:
    name, _, _ = table.partition("/")
    file = f"{table}/{part_name(0)}"
    record = write_part(dataset.root, file, rows, table=TABLES[name], identity="i")
    manifest = Manifest(
        step=step,
        identity="i",
        inputs={},
        parts=(record,),
        counts={},
        code_version="0",
        extra=extra,
    )
    write_manifest(dataset.manifest_path(step), manifest)


@pytest.fixture
def dataset(tmp_path):
    made = opened(tmp_path / "my-corpus")
    finish(made, "ingest", "audio", some_rows(TABLES["audio"])[:3])
    finish(made, "plan.main", "requests/main", [], model="tiny-model")
    finish(made, "assemble", "samples", [sample_row(EXAMPLE)])
    return made


def test_a_finished_dataset_loads_by_the_names_of_its_tables(dataset, tmp_path):
    write_card(dataset)
    cache = str(tmp_path / "cache")
    for name, rows in (("samples", 1), ("audio", 3)):
        found = load_dataset(str(dataset.root), name, split="train", cache_dir=cache)
        assert len(found) == rows


def test_the_card_says_what_is_in_it(dataset):
    write_card(dataset)
    text = (dataset.root / "README.md").read_text(encoding="utf-8")
    assert "# my-corpus" in text
    assert "1 samples over 3 clips" in text
    assert "from librispeech, common_voice by the recipe\n`self_powered`" in text
    assert "the backbone `tiny-model`" in text
    assert "CC-BY-4.0, CC0-1.0" in text


def test_a_run_without_a_model_names_its_engine(dataset):
    finish(dataset, "plan.main", "requests/main", [], model="")
    write_card(dataset)
    assert "the backbone `scripted`" in (dataset.root / "README.md").read_text()


def test_the_front_matter_names_every_table(dataset):
    write_card(dataset)
    front = (dataset.root / "README.md").read_text().split("---\n")[1]
    configs = {c["config_name"]: c["data_files"] for c in yaml.safe_load(front)["configs"]}
    assert configs["samples"] == "samples/*.parquet"
    assert configs["responses"] == "responses/main/*.parquet"
    assert configs["rejections"] == "rejections/*/*.parquet"


def test_the_schema_of_a_dataset_explains_every_column(dataset):
    write_card(dataset)
    schema = json.loads((dataset.root / "schema.json").read_text())
    assert schema["schema_version"] == 1
    assert set(schema["tables"]) == set(TABLES)
    columns = [column for table in schema["tables"].values() for column in table["columns"]]
    assert all(column["meaning"] for column in columns)


def test_a_dataset_that_is_not_finished_has_no_card(tmp_path):
    with pytest.raises(ShardError, match="the step assemble must be finished first"):
        write_card(opened(tmp_path / "new"))
