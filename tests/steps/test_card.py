"""The README.md of a dataset loads with `datasets`; schema.json says what the columns mean."""

import hashlib
import json
import re
from typing import Any

import mlcroissant
import pytest
import yaml
from datasets import Audio, Features, load_dataset
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard
from packaging.licenses import canonicalize_license_expression

from docs.make_samples import EXAMPLE
from sllm_data.config import resolve
from sllm_data.errors import ShardError
from sllm_data.filtering.config import FilterConfig
from sllm_data.shards import TABLES, Manifest, part_name, write_manifest, write_part
from sllm_data.shards.features import card_features, features_of
from sllm_data.steps.card import write_card
from sllm_data.steps.croissant import croissant
from sllm_data.steps.dataset import Dataset, open_dataset
from sllm_data.steps.rows import sample_row
from sllm_data.steps.sources import HUB_NAMES, most_restrictive
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
    assert "| librispeech |" in text
    assert "from librispeech, common_voice by the recipe\n`self_powered`" in text
    assert "the backbone `tiny-model`" in text
    assert "the most restrictive licence is\n`cc-by-4.0`" in text


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


@pytest.mark.parametrize("table", TABLES)
def test_features_in_a_card_are_those_in_the_footers(table):
    schema = TABLES[table].arrow
    assert card_features(schema) == Features.from_dict(features_of(schema))._to_yaml_list()


def test_the_features_of_a_card_are_what_its_rows_load_with(dataset, tmp_path):
    write_card(dataset)
    infos = DatasetInfosDict.from_directory(str(dataset.root))
    assert set(infos) == {"samples", "audio", "index", "requests", "responses", "rejections"}
    audio = load_dataset(str(dataset.root), "audio", split="train", cache_dir=str(tmp_path))
    assert audio.features == infos["audio"].features
    assert isinstance(audio.features["audio"], Audio)


def test_the_schema_of_a_dataset_explains_every_column(dataset):
    write_card(dataset)
    schema = json.loads((dataset.root / "schema.json").read_text())
    assert schema["schema_version"] == 1
    assert set(schema["tables"]) == set(TABLES)
    columns = [column for table in schema["tables"].values() for column in table["columns"]]
    assert all(column["meaning"] for column in columns)


def test_the_front_matter_is_a_card_of_the_hub(dataset):
    write_card(dataset)
    card = DatasetCard.load(dataset.root / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.language == ["en"]
    assert card.data.size_categories == ["n<1K"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that it uses
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_croissant_is_taken_by_its_own_library_and_gives_the_rows(dataset):
    write_card(dataset)
    document = json.loads((dataset.root / "croissant.json").read_text())
    for file in document["distribution"]:
        if file["@type"] == "cr:FileObject":
            content = (dataset.root / file["contentUrl"]).read_bytes()
            assert file["sha256"] == hashlib.sha256(content).hexdigest()
            assert file["contentSize"] == f"{len(content)} B"
    found = mlcroissant.Dataset(jsonld=str(dataset.root / "croissant.json"))
    assert not found.metadata.ctx.issues.errors
    (row,) = found.records("samples")
    assert row["samples/sample_id"].decode() == EXAMPLE.sample_id
    assert len(list(found.records("audio"))) == 3


def test_croissant_says_how_it_was_made_and_what_it_is_not_for(dataset):
    write_card(dataset)
    document = json.loads((dataset.root / "croissant.json").read_text())
    assert document["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert [each["name"] for each in document["isBasedOn"]] == ["librispeech slr12"]
    assert "seed 1" in document["rai:dataPreprocessingProtocol"]
    assert {name for name in document if name.startswith("rai:")} >= {
        "rai:dataCollection",
        "rai:dataLimitations",
        "rai:personalSensitiveInformation",
    }


def said_of(**facts: Any) -> dict[str, Any]:
    """croissant.json of a dataset without rows, of which nothing is said but these facts."""
    texts = dict.fromkeys(("name", "description", "version", "licence", "how_made"), "x")
    none = dict.fromkeys(("sources", "languages", "parts"), ())
    return croissant(**texts | none | {"filters": FilterConfig()} | facts)


@pytest.mark.parametrize("licence", HUB_NAMES)
def test_croissant_names_a_licence_as_spdx_does(licence):
    address = said_of(licence=licence)["license"]
    name = re.fullmatch(r"https://spdx\.org/licenses/(.+)\.html", address)[1]
    assert canonicalize_license_expression(name) == name


ALL = (
    "empty, refusals, loops, copies of the transcript, in another language, no JSON where it was "
    "asked for, with control tokens in them"
)
OFF = {name: False for name, field in FilterConfig.model_fields.items() if field.default is True}


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({}, f"; answers dropped by rule: {ALL}; answers that were cut off are marked."),
        ({"truncated": "drop"}, f"; answers dropped by rule: {ALL}, cut off."),
        ({"truncated": "keep"} | OFF, "; answers that were cut off are kept."),
        (
            {"truncated": "drop", "judge": True} | OFF | {"copied": True},
            (
                "; answers dropped by rule: copies of the transcript, cut off; it judged them, "
                "those below 3 of 5 were dropped."
            ),
        ),
    ],
)
def test_croissant_claims_no_filter_that_was_off(filters, said):
    protocol = said_of(filters=FilterConfig(**filters))["rai:dataAnnotationProtocol"]
    assert protocol == (
        f"A language model answered instructions about transcripts{said} What was dropped stands "
        "with its reason in rejections/."
    )


def test_the_same_dataset_has_the_same_card(dataset):
    write_card(dataset)
    names = ("README.md", "croissant.json", "schema.json", "ATTRIBUTION")
    before = [(dataset.root / name).read_bytes() for name in names]
    write_card(dataset)
    assert [(dataset.root / name).read_bytes() for name in names] == before


def test_every_source_is_named_with_its_licence_rows_and_hours(tmp_path):
    made = opened(tmp_path / "several")
    clips = [
        clip | {"audio_id": f"a/{number}", "num_samples": 16_000 * 36, "sampling_rate": 16_000}
        for number, clip in enumerate(some_rows(TABLES["audio"])[:3])
    ]
    sources = [
        {"corpus": "a", "version": "1", "licence": "CC0-1.0", "attribution": "A"},
        {"corpus": "b", "version": "2", "licence": "ask me", "attribution": None},
    ]
    samples = [
        sample_row(EXAMPLE)
        | {
            "sample_id": f"{number:032x}",
            "source": sources[source],
            "audio_refs": [{"audio_part": 0, "audio_id": f"a/{clip}"}],
        }
        for number, (source, clip) in enumerate([(0, 0), (0, 0), (0, 1), (1, 2)])
    ]
    finish(made, "ingest", "audio", clips)
    finish(made, "plan.main", "requests/main", [], model="tiny-model")
    finish(made, "assemble", "samples", samples)
    write_card(made)
    text = (made.root / "ATTRIBUTION").read_text()
    assert "a, version 1\n  licence: CC0-1.0\n  attribution: A\n  3 rows, 2 clips, 0.02" in text
    assert "b, version 2\n  licence: ask me\n  attribution: not stated\n  1 rows" in text
    card = DatasetCard.load(made.root / "README.md")
    assert (card.data.license, card.data.license_link) == ("other", "ATTRIBUTION")


HOSTILE = "mit |\n---\n<script>alert(1)</script>\x1b[2J"


@pytest.fixture
def hostile(tmp_path):
    """A dataset whose source and language say more than they should."""
    made = opened(tmp_path / "d")
    source = {"corpus": HOSTILE, "version": "1", "licence": HOSTILE, "attribution": HOSTILE}
    row = sample_row(EXAMPLE) | {"source": source, "language": "de\n---\nevil: true"}
    finish(made, "ingest", "audio", [])
    finish(made, "plan.main", "requests/main", [], model="tiny-model")
    finish(made, "assemble", "samples", [row])
    write_card(made)
    return made.root


def test_a_source_is_no_markup_in_a_card(hostile):
    shown = "mit \\| --- &lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J"
    text = (hostile / "README.md").read_text(encoding="utf-8")
    assert f"\n| {shown} | 1 | {shown} | 1 | 0.00 |\n" in text
    assert "<script" not in text
    assert "\x1b" not in text


def test_a_source_adds_no_line_to_the_attribution_and_moves_no_terminal(hostile):
    shown = "mit | --- <script>alert(1)</script>\\x1b[2J"
    lines = (hostile / "ATTRIBUTION").read_text(encoding="utf-8").splitlines()
    assert lines[2:5] == [
        f"{shown}, version 1",
        f"  licence: {shown}",
        f"  attribution: {shown}",
    ]
    assert len(lines) == 8


def test_nothing_that_a_corpus_says_ends_the_front_matter_of_a_card(hostile):
    _, front, _ = (hostile / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    found = yaml.safe_load(front)
    assert found["license"] == "other"
    assert found["language"] == ["de\n"]
    assert "evil" not in found
    assert found["tags"][-1] == "sllm-data"


@pytest.mark.parametrize(
    ("licences", "strictest"),
    [
        ([], "other"),
        (["CC0-1.0"], "cc0-1.0"),
        (["CC BY 4.0", "CC0"], "cc-by-4.0"),
        (["CC-BY-NC-4.0", "CC-BY-SA-4.0"], "cc-by-nc-4.0"),
        (["CC-BY-4.0", ""], "other"),
        (["CC-BY-4.0", "some terms of ours"], "other"),
    ],
)
def test_the_licence_that_forbids_most_is_that_of_the_whole(licences, strictest):
    assert most_restrictive(licences) == strictest
    assert most_restrictive(reversed(licences)) == strictest


def test_a_dataset_that_is_not_finished_has_no_card(tmp_path):
    with pytest.raises(ShardError, match="the step assemble must be finished first"):
        write_card(opened(tmp_path / "new"))
