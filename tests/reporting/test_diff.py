"""Samples of two datasets compared: planted differences are found, and nothing else."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.errors import OutputError, ShardError
from sllm_data.reporting.diff import Diff
from sllm_data.reporting.diff_text import diff_as_text
from sllm_data.shards import part_name, write_part
from tests.reporting.diff_datasets import SAMPLES, compare, sample, write_dataset
from tests.shards.random_rows import rows_of

FATES = ("removed", "added", "response", "metadata", "equal")
KEYS = ("sample_id", "task", "response")  # what a metadata change leaves as it is
OTHERS = [c.name for c in SAMPLES.columns if c.name not in KEYS]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Makes a new folder for each dataset of a property."""
    return lambda: tmp_path_factory.mktemp("diff")


def unique_rows(max_size: int = 5) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows with random values in every column, each sample_id once."""

    def told_apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return list({row["sample_id"]: row for row in rows}.values())

    return rows_of(SAMPLES, max_size=max_size).map(told_apart)


@settings(max_examples=15)
@given(rows=unique_rows(), shuffled=st.randoms(use_true_random=False), part=st.integers(1, 4))
def test_the_same_rows_are_equal_in_whatever_order_and_parts(fresh, rows, shuffled, part):
    other = shuffled.sample(rows, len(rows))
    found = compare(write_dataset(fresh(), rows), write_dataset(fresh(), other, part_rows=part))

    assert found.is_equal
    assert found.rows == dict.fromkeys(FATES, 0) | {"equal": len(rows)}
    assert found.columns == {}


def _fated(fates: dict[str, str], column: str) -> tuple[list[dict], list[dict]]:
    a, b = [], []
    for sample_id, fate in fates.items():
        row = sample(sample_id)
        changed = {
            "response": {"response": "a c"},
            "metadata": {column: _other(row[column])},
        }
        a += [row] if fate != "added" else []
        b += [row | changed.get(fate, {})] if fate != "removed" else []
    return a, b


def _other(value: Any) -> Any:
    """Another value of the same type; one deep inside where it is nested."""
    if isinstance(value, list):
        return [_other(value[0]), *value[1:]]
    if isinstance(value, dict):
        last = next(reversed(value))
        return value | {last: _other(value[last])}
    if isinstance(value, bool):
        return not value
    return value + ("!" if isinstance(value, str) else 1)


@settings(max_examples=25)
@given(
    fates=st.dictionaries(st.text(max_size=3), st.sampled_from(FATES), max_size=12),
    column=st.sampled_from(OTHERS),
    bucket_bytes=st.sampled_from([1_000, 2**20]),
)
def test_planted_differences_are_found_and_nothing_else(fresh, fates, column, bucket_bytes):
    a, b = _fated(fates, column)
    found = compare(
        write_dataset(fresh(), a), write_dataset(fresh(), b), bucket_bytes=bucket_bytes
    )

    counts = Counter(fates.values())
    assert found.rows == {fate: counts[fate] for fate in FATES}
    whole = {name: c for name, c in found.columns.items() if "." not in name}
    assert {n: (c.rows, c.same_response) for n, c in whole.items()} == {
        name: figures
        for name, figures in {
            "response": (counts["response"], 0),
            column: (counts["metadata"], counts["metadata"]),
        }.items()
        if figures[0]
    }
    for kind, examples in found.examples.items():
        ids = sorted(name for name, fate in fates.items() if fate == kind)
        assert [example.sample_id for example in examples] == sorted(ids, key=str.encode)[:3]


def _mirrored(found: Diff) -> dict[str, Any]:
    mirror = {"removed": "added", "added": "removed"}

    def turned(kinds: dict[str, Any]) -> dict[str, Any]:
        return {mirror.get(kind, kind): value for kind, value in kinds.items()}

    document = json.loads(json.dumps(found.as_json()))
    for level in [document, *document["tasks"].values()]:
        level["a"], level["b"] = level["b"], level["a"]
        level["rows"] = turned(level["rows"])
    document["examples"] = turned(document["examples"])
    for example in (one for group in document["examples"].values() for one in group):
        example["a"], example["b"] = example["b"], example["a"]
    document["only_a"], document["only_b"] = document["only_b"], document["only_a"]
    return document


@settings(max_examples=15)
@given(
    fates=st.dictionaries(st.text(max_size=3), st.sampled_from(FATES), max_size=8),
    column=st.sampled_from(OTHERS),
)
def test_the_other_way_round_is_the_mirror_image(fresh, fates, column):
    a, b = (write_dataset(fresh(), rows) for rows in _fated(fates, column))

    assert _mirrored(compare(a, b)) == json.loads(json.dumps(compare(b, a).as_json()))


def test_a_dataset_is_equal_to_itself(tmp_path):
    root = write_dataset(tmp_path, [sample(str(k)) for k in range(7)])
    found = compare(root, root)

    assert found.is_equal
    assert found.rows["equal"] == 7


def test_tasks_have_their_rows_tokens_lengths_and_splits(tmp_path):
    a = [sample("0"), sample("2", response="abcdef", num_response_tokens=5, split="test")]
    b = [sample("0"), sample("1")]
    found = compare(write_dataset(tmp_path / "a", a), write_dataset(tmp_path / "b", b))

    summary = found.tasks["summary"]  # of 0 and 2
    assert (summary.a.rows, summary.b.rows) == (2, 1)
    assert (summary.a.response_tokens, summary.b.response_tokens) == (7, 2)
    assert (summary.a.mean_characters, summary.b.mean_characters) == (4.5, 3.0)
    assert summary.a.splits == {"test": 1, "train": 1}
    assert summary.rows == {"removed": 1, "added": 0, "response": 0, "metadata": 0, "equal": 1}
    assert found.tasks["intent"].a.rows == 0


def test_a_field_of_a_struct_is_counted_by_its_own_name(tmp_path):
    row = sample("0")
    newer = row | {"generator": row["generator"] | {"engine_version": "2"}}
    found = compare(write_dataset(tmp_path / "a", [row]), write_dataset(tmp_path / "b", [newer]))

    assert list(found.columns) == ["generator", "generator.engine_version"]
    (example,) = found.examples["metadata"]
    assert example.b == {"generator.engine_version": "2"}


def test_no_number_equals_no_number(tmp_path):
    rows = [sample("0", speech_share=float("nan"))]
    found = compare(write_dataset(tmp_path / "a", rows), write_dataset(tmp_path / "b", rows))

    assert found.is_equal


def test_a_missing_value_is_not_an_empty_one(tmp_path):
    a = write_dataset(tmp_path / "a", [sample("0", response_token_ids=None)])
    b = write_dataset(tmp_path / "b", [sample("0", response_token_ids=[])])

    assert compare(a, b).columns.keys() == {"response_token_ids"}


def test_examples_are_the_first_ids_whatever_the_buckets(tmp_path):
    names = [f"{k:02}" for k in range(30)]
    a = write_dataset(tmp_path / "a", [sample(name) for name in names])
    b = write_dataset(tmp_path / "b", [sample(name, response="x") for name in names])
    large, small = compare(a, b), compare(a, b, bucket_bytes=3_000)

    assert large == small
    assert [one.sample_id for one in large.examples["response"]] == ["00", "01", "02"]
    assert large.examples["response"][0].a == {"response": "a b"}


def test_nothing_is_left_in_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    a = write_dataset(tmp_path / "a", [sample("0")])
    twice = write_dataset(tmp_path / "b", [sample("0"), sample("0")])
    compare(a, a)
    with pytest.raises(ShardError):
        compare(a, twice)

    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_sample_id_that_is_there_twice_is_named(tmp_path):
    a = write_dataset(tmp_path / "a", [sample("0")])
    b = write_dataset(tmp_path / "b", [sample(name) for name in "1234561"])

    with pytest.raises(ShardError, match=r"b: every sample_id must be there once, '1' is there 2"):
        compare(a, b)


def test_a_folder_without_a_finished_dataset_is_one_sentence(tmp_path):
    with pytest.raises(ShardError, match=r"must be a finished dataset, found no manifest/assemb"):
        compare(tmp_path, tmp_path)


def _flip(path: Path) -> None:
    """Flips a bit in the first page of the responses: its checksum is wrong from then on."""
    column = SAMPLES.names().index("response")
    metadata = pq.read_metadata(path).row_group(0)
    places = {
        metadata.column(k).path_in_schema: metadata.column(k).data_page_offset
        for k in range(metadata.num_columns)
    }
    content = bytearray(path.read_bytes())
    content[places[SAMPLES.columns[column].name] + 40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.unlink(), "the part must exist"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "must be a whole Parquet file"),
        (lambda path: path.write_bytes(b""), "must be a whole Parquet file"),
        (_flip, "can't be read"),
    ],
)
def test_a_damaged_part_is_named(tmp_path, damage, sentence):
    a = write_dataset(tmp_path / "a", [sample(str(k)) for k in range(6)])
    b = write_dataset(tmp_path / "b", [sample(str(k)) for k in range(6)])
    damage(b / "samples" / part_name(1))

    with pytest.raises(ShardError, match=rf"b/samples/part-00001\.parquet: {sentence}"):
        compare(a, b)


def test_parts_of_another_table_are_refused(tmp_path):
    a = write_dataset(tmp_path / "a", [sample("0")])
    rows = [{"request_id": "r", "text": "t"}]
    table = type(SAMPLES)(name="responses", meaning="", key="", columns=SAMPLES.columns)
    write_part(a, f"samples/{part_name(0)}", [], table=table, identity="i")

    assert rows
    with pytest.raises(ShardError, match="must be a part of samples, found one of responses"):
        compare(a, a)


def _rewrite(root: Path, change) -> None:
    """Writes the first part anew with other columns; its footer stays."""
    path = root / "samples" / part_name(0)
    entries = pq.read_metadata(path).metadata
    table = change(pq.read_table(path)).replace_schema_metadata(None)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({k: v for k, v in entries.items() if k[:5] == b"sllm_"})


def _text_as_number(table: pa.Table) -> pa.Table:
    place = table.schema.get_field_index("language")
    return table.set_column(place, "language", pa.array([1] * table.num_rows))


def test_a_column_that_the_figures_need_must_be_there(tmp_path):
    a = write_dataset(tmp_path / "a", [sample("0")])
    _rewrite(a, lambda table: table.drop_columns(["split"]))

    with pytest.raises(ShardError, match="must have the column split of type string, found none"):
        compare(a, a)


def test_a_column_with_another_type_is_named(tmp_path):
    a = write_dataset(tmp_path / "a", [sample("0")])
    b = write_dataset(tmp_path / "b", [sample("0")])
    _rewrite(b, _text_as_number)

    with pytest.raises(ShardError, match=r"the column language must have the type .* string, fo"):
        compare(a, b)


def test_parts_that_do_not_agree_are_named(tmp_path):
    a = write_dataset(tmp_path / "a", [sample(str(k)) for k in range(6)])
    _rewrite(a, _text_as_number)

    with pytest.raises(
        ShardError, match=r"part-00001\.parquet: must have the columns .* language"
    ):
        compare(a, a)


def test_a_column_on_one_side_only_makes_a_difference(tmp_path):
    a = write_dataset(tmp_path / "a", [sample("0")])
    b = write_dataset(tmp_path / "b", [sample("0")])
    _rewrite(b, lambda table: table.append_column("note", pa.array(["n"])))
    found = compare(a, b)

    assert (found.only_a, found.only_b) == ((), ("note",))
    assert found.rows["equal"] == 1
    assert not found.is_equal
    assert "columns in b only: note" in diff_as_text(found, configuration={})


def test_a_full_disk_is_one_sentence(tmp_path):
    root = write_dataset(tmp_path / "a", [sample("0")])
    (tmp_path / "taken").write_text("")
    scratch = tmp_path / "taken"  # a file: nothing can be written below it

    from sllm_data.reporting.pairing import open_samples, paired_buckets

    side = open_samples(root)
    with pytest.raises(OutputError, match="comparing needs room for a copy of both tables"):
        list(paired_buckets(side, side, scratch, bucket_bytes=1, watch=lambda _: None))


def test_the_text_shows_figures_and_marked_responses(tmp_path):
    a = [sample("0"), sample("1"), sample("3", response="only here\x1b[2J")]
    b = [sample("0", response="a new b"), sample("1", language="fr")]
    found = compare(write_dataset(tmp_path / "a", a), write_dataset(tmp_path / "b", b))
    text = diff_as_text(found, configuration={"identity": ["seed: 1 -> 2"], "operational": []})

    assert "configuration, identity:\n  seed: 1 -> 2" in text
    assert "operational" not in text
    assert "a {+new +}b" in text
    assert "language: " in text
    assert "only here\\x1b[2J" in text
    assert "\x1b" not in text


def test_equal_datasets_need_few_words(tmp_path):
    root = write_dataset(tmp_path, [sample("0")])
    text = diff_as_text(compare(root, root), configuration={})

    assert "| equal " in text
    assert "task" not in text


def test_text_that_is_no_utf_8_is_one_sentence(tmp_path):
    a = write_dataset(tmp_path / "a", [sample("0")])
    b = write_dataset(tmp_path / "b", [sample("0")])
    _rewrite(b, _not_utf_8)

    with pytest.raises(ShardError, match=r"the samples can't be compared: .*utf"):
        compare(a, b)


def _not_utf_8(table: pa.Table) -> pa.Table:
    wrong = pa.array([b"\xff\xfe"] * table.num_rows).view(pa.string())
    return table.set_column(table.schema.get_field_index("response"), "response", wrong)
