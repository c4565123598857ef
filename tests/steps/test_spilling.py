"""Rows that do not fit in memory go to the work folder, and nothing of them stays."""

from pathlib import Path

import pytest

from sllm_data.steps.database import open_database

_LARGE = "CREATE TABLE large AS SELECT range AS k, md5(range::text) AS h FROM range(2_000_000)"


def test_a_database_spills_into_a_work_folder_that_was_not_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "dataset" / ".work"
    with open_database(work) as database:
        database.execute("SET memory_limit = '40MB'")
        database.execute("SET threads = 1")
        database.execute(_LARGE)
        assert any((work / "spill").iterdir())
        (count,) = database.execute("SELECT count(DISTINCT h) FROM large").fetchone() or (0,)
    assert count == 2_000_000
    assert not work.exists()
    assert capfd.readouterr() == ("", "")  # no bar of DuckDB's in the output of `--json`


def test_what_others_keep_in_the_work_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "listed.parquet").touch()
    with open_database(tmp_path) as database:
        database.execute("SELECT 1")
    assert (tmp_path / "listed.parquet").exists()
