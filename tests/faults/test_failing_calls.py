"""EIO on write, fsync, rename and the rest: one sentence, and the next run ends well.

The calls of a real run are made to fail one after the other, in the order in which a run
comes to them, so that each attempt gets a little further on the same dataset.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from steps_datasets import digests

from tests.faults.harness import SEED, Ended, Run, assert_one_sentence, finish
from tests.faults.integrity import assert_finished, assert_part_of, assert_whole

PROGRAM = str(Path(__file__).with_name("failing_calls.py"))
TABLES = {
    "candidates": "candidates",
    "ingest": "audio",
    "index": "index",
    "plan.main": "requests/main",
    "generate.main": "responses/main",
    "assemble": "samples",
}
_SPILL = """
import sys
from pathlib import Path
from sllm_data.errors import OutputError
from sllm_data.steps.database import open_database
try:
    with open_database(Path(sys.argv[1])) as database:
        database.execute("SET memory_limit = '20MB'")
        database.execute("CREATE TABLE t AS SELECT hash(i) AS h FROM range(5_000_000) r(i)")
except OutputError as error:
    sys.exit(f"error: {error}")
"""
_START = """
import sys
from sllm_data.errors import EngineError
from sllm_data.generation import VllmConfig, start_engine
try:
    start_engine(VllmConfig(engine="vllm", model=sys.argv[1]))
except EngineError as error:
    sys.exit(f"error: {error}")
"""


def failing(
    call: str, path: str, *, nth: int = 1, times: int = 1, errno: str = "EIO"
) -> list[str]:
    """The command in front of the one that is to fail."""
    options = ["--call", call, "--path", path, "--nth", str(nth), "--times", str(times)]
    return [sys.executable, PROGRAM, *options, "--errno", errno, "--"]


def paths_of(call: str, chance: random.Random) -> list[str]:
    """One or two files of each step, as regular expressions, in the order of a run."""
    found = [r"/run\.yaml$" if call == "rename" else r"/\.run\.yaml\.tmp$"]
    for step, table in TABLES.items():
        number = chance.randint(0, 7)
        if call == "rename":
            found += [f"dataset/{table}/part-0000{number}", f"manifest/{step}.json$"]
        else:
            found += [f"dataset/{table}/.part-0000{number}", f"manifest/.{step}.json"]
    return [*found, "README.md" if call == "rename" else r"\.README\.md"]


@pytest.fixture
def fail(undisturbed, tmp_path, write_run) -> Callable[..., Ended]:
    """Runs the command with a failing call, and looks at what stands then."""
    whole, _ = undisturbed

    def run(before: Sequence[str], **fields: object) -> Ended:
        ended = Run(write_run(tmp_path, **fields), before=before).wait()
        assert_whole(tmp_path / "dataset")
        assert_part_of(tmp_path / "dataset", whole)
        return ended

    return run


@pytest.fixture
def ends_well(undisturbed, tmp_path) -> Callable[[], None]:
    """Runs the same command undisturbed, and compares."""

    def run() -> None:
        finish(tmp_path / "run.yaml")
        assert_finished(tmp_path / "dataset")
        assert digests(tmp_path / "dataset") == digests(undisturbed[0])

    return run


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failing_call_in_any_step_is_one_sentence(fail, ends_well, call):
    for path in paths_of(call, random.Random(SEED)):
        ended = fail(failing(call, path))
        assert_one_sentence(ended)
        assert "can't be written: Input/output error" in ended.said
    ends_well()


WORK = [
    ("open", r"/\.lock$"),
    ("mkdir", r"/\.work$"),
    ("open", r"/rejected\.jsonl$"),
    ("write", r"/rejected\.jsonl$"),
    ("fsync", r"/\.listed\.parquet\.tmp$"),
    ("rename", r"/candidates/part-00003\.parquet$"),
    ("unlink", r"/candidates/part-00001\.parquet$"),
    ("mkdir", r"/dataset/audio$"),
    ("open", r"/dataset/audio/\.part-00001"),
    ("fsync", r"/dataset/audio$"),
]


def test_what_fails_beside_the_parts_is_one_sentence_too(fail, ends_well):
    for call, path in WORK:
        ended = fail(failing(call, path))
        assert_one_sentence(ended)
        assert ": Input/output error; " in ended.said
    ends_well()


def test_a_work_folder_that_can_not_be_cleared_is_no_obstacle(fail, ends_well):
    assert_one_sentence(fail(failing("rename", "manifest/candidates.json$")))
    assert fail(failing("unlink", r"listed\.parquet$", times=1000)).status == 0
    ends_well()


@pytest.mark.parametrize(
    ("call", "path"), [("write", "audio/.part-00002"), ("rename", "main/part-00004")]
)
def test_a_call_that_fails_in_a_worker_process_is_one_sentence(fail, ends_well, call, path):
    ended = fail(failing(call, path), runner={"kind": "processes", "workers": 2})
    assert_one_sentence(ended)
    assert "can't be written: Input/output error" in ended.said
    ends_well()


READ = [r"validated\.tsv$", r"/candidates/part-00001", r"\.flac$", r"/audio/part-00001"]


def test_what_can_not_be_read_is_one_sentence_and_no_rejection(fail, ends_well):
    for path in READ:
        assert_one_sentence(fail(failing("open", path)))
    ends_well()


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EDQUOT"])
def test_duckdb_s_own_writing_fails_in_one_sentence(undisturbed, tmp_path, write_run, name):
    run_yaml = write_run(tmp_path, reuse=[str(undisturbed[0])])
    ended = Run(run_yaml, before=failing("write", r"/\.work/reuse/", errno=name)).wait()
    assert_one_sentence(ended)
    assert_whole(tmp_path / "dataset")
    finish(run_yaml)
    assert_finished(tmp_path / "dataset")


def test_a_spill_that_can_not_be_written_is_one_sentence(tmp_path):
    command = [*failing("write", "/spill/"), sys.executable, "-c", _SPILL, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {tmp_path.parent}: ")
    assert "Input/output error" in ended.stderr


def test_an_engine_without_room_for_its_log_is_one_sentence(tiny_backbone):
    before = failing("open", "/sllm-data-engine-", times=1000, errno="ENOSPC")
    command = [*before, sys.executable, "-c", _START, str(tiny_backbone)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the engine needs a file for what it writes, found: ")
    assert "No space left on device" in ended.stderr


@pytest.mark.parametrize("nth", [1, 3])
def test_the_nth_call_fails_and_no_other(tmp_path, nth):
    """What breaks the runs above breaks what it is told to, and only that."""
    write = f"for k in range(4): open(r'{tmp_path}/x' + str(k), 'w')"
    command = [*failing("open", f"{tmp_path}/x", nth=nth), sys.executable, "-c", write]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"OSError: [Errno 5] Input/output error: '{tmp_path}/x{nth - 1}'" in ended.stderr
    assert len(list(tmp_path.iterdir())) == nth - 1
