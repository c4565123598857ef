"""docs/samples.md is made from the schema, and what it tells people to run works."""

import re

import duckdb
import pytest

from docs import make_samples
from sllm_data.shards import TABLES, write_part
from sllm_data.steps.rows import sample_row
from tests.shards.random_rows import some_rows

AUDIO_ID = make_samples.EXAMPLE.audio_refs[0][1]


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", make_samples.document(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """The example of the docs as a dataset, as the current folder."""
    audio = some_rows(TABLES["audio"])[3] | {
        "audio_id": AUDIO_ID,
        "audio": {"bytes": b"fLaC", "path": "x.flac"},
        "sampling_rate": 16_000,
    }
    sample = sample_row(make_samples.EXAMPLE)
    for name, row in (("audio", audio), ("samples", sample)):
        file = f"{name}/part-00000.parquet"
        write_part(tmp_path, file, [row], table=TABLES[name], identity="i")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_says_what_the_schema_says():
    assert make_samples.document() == make_samples.FILE.read_text(encoding="utf-8")


def test_every_field_of_every_struct_is_explained():
    for kind, _, meanings in make_samples.STRUCTS.values():
        assert meanings.keys() == {field.name for field in kind}


def test_every_struct_of_a_column_has_a_name_or_is_spelt_out():
    links = set(re.findall(r"\(#(\w+)\)", make_samples.document()))
    assert links == set(make_samples.STRUCTS)


def test_the_sql_finds_the_audio_of_a_sample(dataset):
    with duckdb.connect() as database:
        rows = database.execute(_block("sql")).fetchall()
    example = make_samples.EXAMPLE
    assert rows == [(example.sample_id, example.response, b"fLaC", 16_000)]


def test_the_pyarrow_lines_find_the_audio_of_a_sample(dataset):
    names: dict[str, object] = {}
    exec(_block("python"), names)  # noqa: S102 - the lines that the docs tell people to run
    assert names["encoded"] == b"fLaC"
