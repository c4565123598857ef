from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.corpora.tables import read_columns, read_rows
from sllm_data.errors import CorpusError

CELL = st.text(st.characters(blacklist_characters="\t\n\r\x00", codec="utf-8"), max_size=8)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "table.tsv"
    path.write_bytes(content)
    return path


@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL).filter(any), max_size=8),
    newline=st.sampled_from(["\n", "\r\n"]),
    start=st.sampled_from(["", "\ufeff"]),
)
def test_cells_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, ...]],
    newline: str,
    start: str,
) -> None:
    lines = ["a\tb\tc", *("\t".join(row) for row in rows)]
    path = write(tmp_path_factory.mktemp("t"), (start + newline.join(lines)).encode())
    read = list(read_rows(path, needed=("b",)))
    assert [tuple(row.cells.values()) for row in read] == rows
    assert [row.line for row in read] == list(range(2, len(rows) + 2))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"1\t2\t3", "must have 2 fields, got 3"),
        (b"1", "must have 2 fields, got 1"),
        (b"1\t\xff", "must be UTF-8, byte 2"),
        (b"1\t\x00", "NUL byte"),
        (b"1\t" + b"x" * (1 << 20) * 3, "shorter than 1048576 bytes"),
    ],
)
def test_a_bad_line_is_named_and_the_next_one_is_read(
    tmp_path: Path, line: bytes, problem: str
) -> None:
    path = write(tmp_path, b"a\tb\n" + line + b"\nx\ty\n")
    bad, good = read_rows(path, needed=("a",))
    assert problem in str(bad.problem)
    assert (bad.line, bad.cells) == (2, {})
    assert (good.line, good.cells) == (3, {"a": "x", "b": "y"})


def test_a_file_without_line_feeds_ends_as_one_bad_line(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\tb\n" + b"x" * (1 << 21))
    (row,) = read_rows(path, needed=("a",))
    assert row.problem is not None


def test_quotes_and_odd_line_breaks_are_data(tmp_path: Path) -> None:
    path = write(tmp_path, 'a\tb\n"x\ty\u2028\x0b"z\n'.encode())
    (row,) = read_rows(path, needed=("a",))
    assert row.cells == {"a": '"x', "b": 'y\u2028\x0b"z'}


def test_empty_lines_are_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\tb\n\n1\t2\n\r\n")
    assert [row.line for row in read_rows(path, needed=("a",))] == [3]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "missing: a"),
        (b"x\ty\n", "missing: a; found: x, y"),
        (b"a\ta\n", "each column once"),
        (b"\xff\xfea\x00\n", "UTF-8, byte 0"),
    ],
)
def test_a_table_without_usable_columns_is_an_error(
    tmp_path: Path, header: bytes, message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read_columns(write(tmp_path, header), needed=("a",))


def test_a_missing_table_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.tsv: can't be read: No such file"):
        read_columns(tmp_path / "none.tsv", needed=("a",))
