"""DuckDB over parts: files by any name, a bound on memory, and signals that come through."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sllm_data.errors import OutputError
from sllm_data.shards.database import connect, interruptible, opened, parquet, quoted

NAMES = ("a", "[a]", "*", "**", "x?", "xy", "it's", 'a"b', "b\\c", "task=asr", "ü [b-c]* ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in each of many folders, whose one row says in which."""
    root = tmp_path_factory.mktemp("named")
    for name in NAMES:
        (root / name).mkdir()
        pq.write_table(pa.table({"task": [name]}), root / name / "part-00000.parquet")
    return root


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_found_by_its_name_and_no_other_is(folder: Path, name: str) -> None:
    path = folder / name / "part-00000.parquet"
    with connect(None) as database:
        found = database.execute(f"SELECT * FROM {parquet([path], 'filename = true')}").fetchall()
    assert found == [(name, str(path))]


@pytest.mark.parametrize("name", ["b\\[c]", "b\\*", "\\?", "[a]\\b"])
def test_a_name_that_no_pattern_fits_alone_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="must have no"):
        parquet([tmp_path / name / "part-00000.parquet"])


def test_a_database_spills_into_the_folder_that_it_is_given(folder: Path) -> None:
    spill = folder / "it's" / "spill"
    with connect(spill, threads=1) as database:
        database.execute("SET memory_limit = '20MB'")
        database.execute("CREATE TABLE t AS SELECT hash(i) AS h FROM range(4_000_000) r(i)")
        assert list(spill.iterdir())


def test_without_a_place_to_spill_what_does_not_fit_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with connect(None) as database:
        database.execute("SET memory_limit = '20MB'")
        with pytest.raises(duckdb.OutOfMemoryException):
            database.execute("CREATE TABLE t AS SELECT hash(i) AS h FROM range(4_000_000) r(i)")
    assert not list(tmp_path.iterdir())


def test_a_database_may_hold_so_much_and_no_more() -> None:
    with connect(None) as database:
        (limit,) = database.execute("SELECT current_setting('memory_limit')").fetchall()
    assert limit == ("244.1 MiB",)


def test_a_text_stays_what_it_is_in_sql() -> None:
    text = "it's 'quoted' \\ \" -- ;"
    assert duckdb.execute(f"SELECT {quoted(text)}").fetchall() == [(text,)]


@contextmanager
def interrupted(error: BaseException) -> Iterator[None]:
    """Raises an error in the main thread by a signal, in a moment."""

    def stop(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, stop)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(7)])
def test_what_a_signal_raises_while_a_query_runs_comes_through(error: BaseException) -> None:
    query = "SELECT max(hash(i)) FROM range(1_000_000_000_000) r(i)"
    with (
        pytest.raises(type(error)) as caught,
        opened(None) as database,
        interrupted(error),
        interruptible(),
    ):
        database.execute(query).fetchall()
    assert caught.value is error


def test_an_error_of_a_program_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="ours") as caught, interruptible():
        raise RuntimeError("ours") from ValueError("why")
    assert isinstance(caught.value.__cause__, ValueError)
