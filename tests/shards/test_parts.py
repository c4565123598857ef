"""A part is whole or absent, says what it holds, and gives back exactly what was written."""

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from sllm_data.shards import TABLES, part_name, read_footer, read_part, record_of, write_part
from sllm_data.shards.parts import TEXT_ROWS_PER_GROUP
from tests.shards.random_rows import rows_of

REJECTIONS = TABLES["rejections"]
every_table = pytest.mark.parametrize("name", TABLES)
few = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])

_FULL = """
import resource, sys
from pathlib import Path
from sllm_data.errors import OutputError
from sllm_data.shards import TABLES, write_part
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
row = {"row_id": "r", "step": "plan", "reason": "silent", "detail": "d"}
rows = ({**row, "row_id": f"{i * 7919 ** 5:x}"} for i in range(50_000))
try:
    write_part(Path(sys.argv[1]), "t/a.parquet", rows, table=TABLES["rejections"], identity="i")
except OutputError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
"""


def rejection(number: int) -> dict[str, str | None]:
    return {
        "row_id": f"row-{number}",
        "audio_id": None,
        "step": "plan",
        "reason": "silent",
        "detail": "",
    }


def _files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@every_table
@few
@given(data=st.data())
def test_reading_gives_back_what_was_written(tmp_path_factory, name, data):
    root = tmp_path_factory.getbasetemp()
    rows = data.draw(rows_of(TABLES[name]))
    record = write_part(root, f"{name}.parquet", rows, table=TABLES[name], identity="i")
    found = read_part(root / f"{name}.parquet")
    assert found.to_pylist() == rows
    assert found.schema.equals(TABLES[name].arrow)
    assert record.rows == len(rows)


@every_table
@few
@given(data=st.data())
def test_equal_rows_make_equal_bytes(tmp_path_factory, name, data):
    root = tmp_path_factory.getbasetemp()
    rows = data.draw(rows_of(TABLES[name]))
    records = [
        write_part(root, "same.parquet", iter(rows), table=TABLES[name], identity="i")
        for _ in range(2)
    ]
    assert records[0] == records[1]


@every_table
def test_a_part_without_rows_is_a_file_without_rows(tmp_path, name):
    record = write_part(tmp_path, "e.parquet", (), table=TABLES[name], identity="i")
    assert record.rows == read_part(tmp_path / "e.parquet").num_rows == 0
    assert read_part(tmp_path / "e.parquet").schema.equals(TABLES[name].arrow)


def test_the_record_made_while_writing_is_the_one_read_back(tmp_path):
    file = "rejections/plan/part-00003.parquet"
    rows = [rejection(i) for i in range(100)]
    record = write_part(tmp_path, file, rows, table=REJECTIONS, identity="i")
    content = (tmp_path / file).read_bytes()
    assert record_of(tmp_path, file) == record
    assert record.file == file
    assert record.bytes == len(content)
    assert record.sha256 == hashlib.sha256(content).hexdigest()
    assert len(record.footer_sha256) == 64


def test_the_footer_digest_changes_with_the_rows(tmp_path):
    first, second = (
        write_part(tmp_path, "a.parquet", [rejection(i)], table=REJECTIONS, identity="i")
        for i in range(2)
    )
    assert first.footer_sha256 != second.footer_sha256


def test_the_footer_tells_table_identity_and_counts_filled_while_writing(tmp_path):
    reasons: Counter[str] = Counter()

    def rows():
        for i in range(3):
            reasons["silent"] += 1
            yield rejection(i)

    counts = {"rejections": reasons}
    write_part(tmp_path, "a.parquet", rows(), table=REJECTIONS, identity="abc", counts=counts)
    footer = read_footer(tmp_path / "a.parquet")
    assert (footer.table, footer.identity, footer.rows) == ("rejections", "abc", 3)
    assert footer.counts == {"rejections": {"silent": 3}}


def test_an_exception_between_rows_leaves_no_file_at_all(tmp_path):
    def rows():
        yield rejection(0)
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        write_part(tmp_path, "t/a.parquet", rows(), table=REJECTIONS, identity="i")
    assert _files(tmp_path) == []


def test_an_exception_keeps_the_part_that_was_there(tmp_path):
    write_part(tmp_path, "a.parquet", [rejection(0)], table=REJECTIONS, identity="i")
    with pytest.raises(KeyError):
        write_part(
            tmp_path, "a.parquet", ({}[i] for i in range(1)), table=REJECTIONS, identity="i"
        )
    assert read_part(tmp_path / "a.parquet").num_rows == 1
    assert _files(tmp_path) == ["a.parquet"]


def test_a_full_disk_is_one_sentence_and_leaves_no_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "a.parquet: can't be written: File too large; make room" in done.stdout
    assert done.stderr == ""
    assert _files(tmp_path) == []


def test_a_missing_value_where_one_must_be_is_our_own_bug_and_loud(tmp_path):
    row = rejection(0) | {"detail": None}
    with pytest.raises(ValueError, match=r"detail.*non-nullable but contains nulls"):
        write_part(tmp_path, "a.parquet", [row], table=REJECTIONS, identity="i")
    assert _files(tmp_path) == []


def test_only_the_columns_asked_for_are_read(tmp_path):
    write_part(tmp_path, "a.parquet", [rejection(7)], table=REJECTIONS, identity="i")
    found = read_part(tmp_path / "a.parquet", ["reason", "row_id"])
    assert found.to_pylist() == [{"reason": "silent", "row_id": "row-7"}]


def test_rows_beyond_one_group_keep_their_order(tmp_path):
    count = TEXT_ROWS_PER_GROUP + 5
    rows = (rejection(i) for i in range(count))
    record = write_part(tmp_path, "a.parquet", rows, table=REJECTIONS, identity="i")
    assert record.rows == count
    assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == 2
    ids = read_part(tmp_path / "a.parquet", ["row_id"])["row_id"].to_pylist()
    assert ids == [f"row-{i}" for i in range(count)]


def test_parts_sort_by_number():
    assert part_name(7) == "part-00007.parquet"
    assert part_name(9) < part_name(10) < part_name(99_999)
