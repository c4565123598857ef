"""Keys are unique in the dataset: found across parts, in bounded memory, never by chance."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import as_foreign, broken, change, judged, rows_of

from sllm_data.validation import keys
from sllm_data.validation.subject import Part

SAMPLES = "samples/part-00001.parquet"


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=40), max_size=5))
def test_repeated_hashes_are_those_that_occur_twice_in_whatever_files(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("hashes")
    files = []
    for number, hashes in enumerate(parts):
        files.append(folder / str(number))
        np.array(sorted(hashes), np.uint64).tofile(files[-1])
    every = [number for part in parts for number in part]
    repeated, rows = keys.repeated_hashes(folder / "buckets", files)
    assert repeated.tolist() == sorted({n for n in every if every.count(n) > 1})
    assert rows == len(every) - len(set(every))


def test_many_buckets_find_what_one_finds(tmp_path):
    hashes = np.sort(np.random.default_rng(0).integers(0, 2**64, 5_000, np.uint64))
    for number in range(3):
        hashes[number::7].tofile(tmp_path / f"{number}")
    hashes[[7, 4_900]].tofile(tmp_path / "again")
    files = sorted(tmp_path.iterdir())
    one = keys.repeated_hashes(tmp_path / "buckets", files)
    many = keys.repeated_hashes(tmp_path / "buckets", files, bucket=100)
    assert one[0].tolist() == many[0].tolist()
    assert one[1] == many[1] > 0


def test_a_key_that_stands_in_two_parts_is_named_with_both_places(dataset):
    first = rows_of(dataset, "samples/part-00000.parquet")[2]["sample_id"]
    change(dataset, SAMPLES, lambda rows: rows[1].update(sample_id=first))
    report = judged(dataset, 1)
    outcome = next(o for o in report.outcomes if o.rule.name == "unique_id")
    (found,) = outcome.findings
    assert (found.part, found.row, found.column) == (SAMPLES, first, "sample_id")
    assert found.message == "row 1 has the key of row 2 of samples/part-00000.parquet"
    assert outcome.count == 1


def test_nothing_but_the_rule_is_broken_where_no_other_table_is_there(plain, tmp_path):
    root = as_foreign(plain, tmp_path / "f", "samples")
    path = root / "samples/data-0.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(3, 2)]), path)
    found = {name: n for name, n in broken(judged(root, 1)).items() if "layout" not in name}
    assert found == {"unique_id": 2, "huggingface_entry": 2}


def test_one_key_in_every_row_is_counted_and_a_few_are_listed(tmp_path):
    (tmp_path / "index").mkdir()
    size = 3_000
    rows = {
        "audio_id": ["c/1/en/x"] * size,
        "audio_part": pa.array([0] * size, pa.int32()),
        "kept": [True] * size,
        "reason": pa.array([None] * size, pa.string()),
        "split": ["train"] * size,
        "tasks": [["intent"]] * size,
    }
    pq.write_table(pa.table(rows), tmp_path / "index/a.parquet")
    outcome = next(o for o in judged(tmp_path, 1, keep=4).outcomes if o.rule.name == "unique_id")
    assert (outcome.count, len(outcome.findings)) == (size - 1, 4)


def test_two_keys_with_one_hash_are_no_finding():
    part = Part(file="samples/a.parquet", table="samples", number=0)
    places = [keys.Place(key=key, part=part, row=row, hash=1) for row, key in enumerate("ab")]
    assert keys.told(places, "sample_id") == ([], 1)


@pytest.mark.parametrize("table", ["index", "requests/restore", "responses/restore"])
def test_a_clip_stands_again_in_the_parts_of_a_new_task(rich, table):
    ids = [
        row["audio_id" if table == "index" else "request_id"]
        for path in sorted((rich / table).glob("*"))
        for row in rows_of(rich, f"{table}/{path.name}")
    ]
    assert len(set(ids)) < len(ids)  # and the dataset passes: test_clean
