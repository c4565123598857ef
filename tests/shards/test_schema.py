"""The tables are the contract: they change on purpose, with a new version and its history."""

import dataclasses
import json

import pytest

from sllm_data.records import Candidate, IndexRow, Rejection, Request, Response, Sample, Utterance
from sllm_data.shards import SCHEMA_VERSION, TABLES
from sllm_data.shards.schema import HISTORY
from tests.goldens import make_schema

every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def test_the_schema_is_the_golden_one():
    assert make_schema.golden() == make_schema.FILE.read_text(encoding="utf-8")


def test_every_version_has_a_line_of_history():
    assert list(HISTORY) == list(range(1, SCHEMA_VERSION + 1))


@every_table
def test_a_key_is_a_column_that_is_never_missing(table):
    (key,) = [column for column in table.columns if column.name == table.key]
    assert not key.nullable


@every_table
def test_columns_have_distinct_names_and_a_meaning(table):
    assert len(set(table.names())) == len(table.columns)
    assert all(column.meaning for column in table.columns)


@every_table
def test_only_nullable_columns_may_be_missing_in_arrow(table):
    for column, field in zip(table.columns, table.arrow, strict=True):
        assert field.nullable == (column.nullable or column.name == "audio")


def test_names_without_some_keep_their_order():
    names = TABLES["index"].names(without=("kept", "split"))
    assert names == ["audio_id", "audio_part", "reason", "tasks"]


@pytest.mark.parametrize(
    ("record", "table", "beside"),
    [
        (Candidate, "candidates", set()),
        (Utterance, "audio", {"audio", "duration_s"}),
        (IndexRow, "index", set()),
        (Request, "requests", {"model", "revision", "chat_template_sha256"}),
        (
            Response,
            "responses",
            {
                "request_key",
                "engine",
                "engine_version",
                "prompt_mode",
                "determinism",
                "reused_from",
            },
        ),
        (Sample, "samples", set()),
        (Rejection, "rejections", set()),
    ],
)
def test_records_have_the_columns_of_their_tables(record, table, beside):
    fields = {field.name for field in dataclasses.fields(record)}
    assert fields | beside == set(TABLES[table].names())


def test_the_description_of_a_dataset_is_json():
    document = json.loads(make_schema.golden())
    assert document["tables"]["audio"]["huggingface"]["info"]["features"]["audio"] == {
        "_type": "Audio"
    }
