"""Parts that another program wrote are judged against the published schema."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from planting import as_foreign, broken, judged

from sllm_data.errors import OutputError, ShardError
from sllm_data.shards import SCHEMA_VERSION
from sllm_data.validation.levels import RULES

SAMPLES = "samples/data-0.parquet"


@pytest.fixture
def foreign(plain, tmp_path) -> Path:
    """samples/ and audio/ as plain Parquet, without manifests, run.yaml or footer entries."""
    return as_foreign(plain, tmp_path / "foreign", "samples", "audio")


def _errors(report):
    return {o.rule.name: o.count for o in report.outcomes if o.is_failure}


def _edit(root, file, edit):
    pq.write_table(edit(pq.read_table(root / file)), root / file)


def _set(table, column, values):
    return table.set_column(table.schema.get_field_index(column), column, values)


def test_good_parts_pass_and_their_layout_is_a_warning(foreign):
    report = judged(foreign, 1)
    assert report.foreign
    assert _errors(report) == {}
    layout = {"layout_compression", "layout_pages", "layout_checksums"}
    assert set(broken(report)) == layout | {"huggingface_entry"}


def test_what_only_this_package_promises_is_not_asked_of_others(foreign):
    off = {o.rule.name for o in judged(foreign, 1).outcomes if o.weight == "off"}
    assert off == {r.name for r in RULES.values() if r.foreign == "off" and r.level <= 1}


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.string_view(),
    ],
    ids=str,
)
def test_every_way_to_store_a_text_is_a_string(foreign, kind):
    def edit(table):
        column = table.column("task")
        if pa.types.is_dictionary(kind):
            return _set(table, "task", column.dictionary_encode())
        return _set(table, "task", column.cast(kind))

    _edit(foreign, SAMPLES, edit)
    assert _errors(judged(foreign, 1)) == {}


def test_a_large_list_is_a_list(foreign):
    kind = pa.large_list(pa.struct([("audio_part", pa.int32()), ("audio_id", pa.large_string())]))
    _edit(foreign, SAMPLES, lambda t: _set(t, "audio_refs", t.column("audio_refs").cast(kind)))
    assert _errors(judged(foreign, 1)) == {}


def test_a_number_of_another_width_is_another_type(foreign):
    _edit(
        foreign,
        "audio/data-0.parquet",
        lambda t: _set(t, "sampling_rate", t.column("sampling_rate").cast(pa.int64())),
    )
    report = judged(foreign, 1)
    assert _errors(report) == {"part_schema": 1}
    (found,) = next(o for o in report.outcomes if o.is_failure).findings
    assert (found.part, found.column) == ("audio/data-0.parquet", "sampling_rate")
    assert found.message == "must be int32, is int64"


def test_a_required_column_must_be_there_and_a_nullable_one_need_not(foreign):
    _edit(foreign, SAMPLES, lambda t: t.drop_columns(["response", "response_token_ids"]))
    report = judged(foreign, 0)
    (found,) = next(o for o in report.outcomes if o.is_failure).findings
    assert found.column == "response"
    assert "must be there (string, never missing), is missing" in found.message


def test_a_missing_value_in_a_required_column_is_named_to_the_row(foreign):
    keys = pq.read_table(foreign / SAMPLES).column("sample_id").to_pylist()

    def edit(table):
        values = table.column("response").to_pylist()
        values[3] = None
        return _set(table, "response", pa.array(values, pa.string()))

    _edit(foreign, SAMPLES, edit)
    report = judged(foreign, 1)
    assert _errors(report) == {"null": 1}
    (found,) = next(o for o in report.outcomes if o.is_failure).findings
    assert (found.row, found.column) == (keys[3], "response")


def test_a_clip_that_no_part_holds_is_named(foreign):
    rows = pq.read_table(foreign / "audio/data-0.parquet")
    gone = rows.column("audio_id")[0].as_py()
    pq.write_table(rows.slice(1), foreign / "audio/data-0.parquet")
    report = judged(foreign, 1)
    assert set(_errors(report)) == {"audio_ref"}
    found = next(o for o in report.outcomes if o.is_failure).findings[0]
    assert (found.part, found.value) == (SAMPLES, f"{gone} in part 0")


def test_a_span_beyond_its_clip_is_named(foreign):
    def shorten(table):
        halved = pa.array([n // 2 for n in table.column("num_samples").to_pylist()])
        return _set(table, "num_samples", halved)

    _edit(foreign, "audio/data-0.parquet", shorten)
    assert {"span_in_audio", "clip_numbers"} == set(_errors(judged(foreign, 1)))


def test_samples_alone_can_be_judged(foreign):
    shutil.rmtree(foreign / "audio")
    assert _errors(judged(foreign, 1)) == {}


def test_files_are_parts_in_the_order_of_their_names(foreign):
    first, second = foreign / "audio/data-0.parquet", foreign / "audio/data-1.parquet"
    first.rename(foreign / "audio/later.parquet")
    report = judged(foreign, 1)
    assert set(_errors(report)) == {"audio_ref"}
    second.rename(foreign / "audio/part-00001.parquet")
    (foreign / "audio/later.parquet").rename(foreign / "audio/part-00000.parquet")
    assert _errors(judged(foreign, 1)) == {}


def test_the_schema_of_the_folder_is_the_judge(foreign, plain):
    document = json.loads((plain / "schema.json").read_text())
    columns = document["tables"]["samples"]["columns"]
    columns[:] = [column for column in columns if column["name"] != "recipe"]
    (foreign / "schema.json").write_text(json.dumps(document))
    assert set(_errors(judged(foreign, 0))) == {"schema_document", "extra_column"}


def test_a_schema_that_is_given_is_the_judge(foreign, plain, tmp_path):
    document = json.loads((plain / "schema.json").read_text())
    next(
        column
        for column in document["tables"]["samples"]["columns"]
        if column["name"] == "speech_share"
    )["type"] = "double"
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document))
    assert _errors(judged(foreign, 0)) == {}
    assert _errors(judged(foreign, 0, schema=path)) == {"part_schema": 2}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "must be the schema.json of a dataset"),
        ("[]", "must be the schema.json of a dataset"),
        (
            '{"schema_version": 1, "tables": {"x": {"key": "a", "columns": []}}}',
            "must be a column",
        ),
        (
            f'{{"schema_version": {SCHEMA_VERSION + 1}, "tables": {{}}}}',
            "update sllm-data",
        ),
    ],
)
def test_a_schema_that_can_not_be_used_is_an_error(foreign, tmp_path, text, sentence):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ShardError, match=sentence):
        judged(foreign, 0, schema=path)


@pytest.mark.parametrize("kind", ["float", "double"])
def test_a_column_that_the_contract_allows_may_stand_beside(foreign, kind):
    def edit(table):
        return table.append_column("score", pa.array([0.5] * table.num_rows))

    _edit(foreign, SAMPLES, edit)
    assert _errors(judged(foreign, 1)) == {"extra_column": 1}
    contract = {"extra_columns": {"samples": {"score": kind}}}
    (foreign / "contract.yaml").write_text(yaml.safe_dump(contract))
    assert _errors(judged(foreign, 1)) == {}


def test_a_column_that_the_contract_allows_must_have_its_type(foreign):
    _edit(foreign, SAMPLES, lambda t: t.append_column("score", pa.array(["x"] * t.num_rows)))
    contract = {"extra_columns": {"samples": {"score": "float"}}}
    (foreign / "contract.yaml").write_text(yaml.safe_dump(contract))
    report = judged(foreign, 0)
    (found,) = next(o for o in report.outcomes if o.is_failure).findings
    assert (found.column, found.message) == ("score", "must be float, is string")


def test_a_parquet_file_in_no_table_s_folder_is_a_warning(foreign):
    shutil.copy(foreign / SAMPLES, foreign / "stray.parquet")
    report = judged(foreign, 0)
    assert broken(report)["part_unexpected"] == 1
    assert report.passed


def test_damaged_pages_are_told_and_nothing_crashes(foreign):
    path = foreign / SAMPLES
    content = bytearray(path.read_bytes())
    content[500:2500] = bytes(2000)
    path.write_bytes(content)
    assert "part_pages" in _errors(judged(foreign, 1))


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda _: None])
def test_what_is_no_dataset_is_an_error(tmp_path, make):
    root = tmp_path / "nothing"
    make(root)
    with pytest.raises(OutputError, match="must be"):
        judged(root, 0)


def test_links_that_lead_in_a_circle_do_no_harm(foreign):
    (foreign / "samples/again").symlink_to(foreign)
    assert _errors(judged(foreign, 0)) == {}
