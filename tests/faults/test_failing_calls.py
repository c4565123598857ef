"""EIO on write, fsync, rename and the rest: one sentence, and the next run ends well.

The calls of a real run are made to fail one after the other, in the order in which a run
comes to them, so that each attempt gets a little further on the same dataset.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from steps_datasets import digests

from tests.faults.harness import Run, assert_one_sentence, finish, rewound
from tests.faults.integrity import assert_finished, assert_part_of, assert_whole

PROGRAM = str(Path(__file__).with_name("failing_calls.py"))
FAULTS = [  # in the order in which a run comes to them
    ("open", r"/\.lock$"),
    ("write", r"/\.run\.yaml\.tmp$"),
    ("open", r"/validated\.tsv$"),
    ("mkdir", r"/\.work$"),
    ("open", r"/rejected\.jsonl$"),
    ("write", r"/rejected\.jsonl$"),
    ("fsync", r"/\.work/\.listed\.parquet\.tmp$"),
    ("rename", r"/candidates/part-00003\.parquet$"),
    ("unlink", r"/candidates/part-00001\.parquet$"),
    ("open", r"/dataset/candidates/part-00002"),
    ("mkdir", r"/dataset/audio$"),
    ("open", r"\.flac$"),
    ("write", r"/dataset/audio/\.part-00004"),
    ("fsync", r"/dataset/audio$"),
    ("rename", r"/manifest/ingest\.json$"),
    ("open", r"/dataset/audio/part-00003"),
    ("write", r"/dataset/index/\.part-00002"),
    ("fsync", r"/manifest/\.index\.json\.tmp$"),
    ("fsync", r"/rejections/plan\.main/\.part-00001"),
    ("rename", r"/requests/main/part-00005\.parquet$"),
    ("write", r"/manifest/\.plan\.main\.json\.tmp$"),
    ("write", r"/responses/main/\.part-00003"),
    ("fsync", r"/responses/main/\.part-00007"),
    ("rename", r"/reports/generate\.main\.json$"),
    ("rename", r"/manifest/generate\.main\.json$"),
    ("write", r"/dataset/samples/\.part-00000"),
    ("fsync", r"/dataset/samples$"),
    ("rename", r"/rejections/assemble/part-00006\.parquet$"),
    ("write", r"/\.README\.md\.tmp$"),
    ("rename", r"/schema\.json$"),
]
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


def test_a_call_that_fails_in_any_step_is_one_sentence(undisturbed, tmp_path, write_run):
    """Reading fails as well: a clip that can't be read for now is no rejection."""
    whole, _ = undisturbed
    run_yaml, root = write_run(tmp_path), tmp_path / "dataset"
    for call, path in FAULTS:
        ended = Run(run_yaml, before=failing(call, path)).wait()
        assert_one_sentence(ended)
        assert "Input/output error" in ended.said, (call, path)
        assert_whole(root)
        assert_part_of(root, whole)
    finish(run_yaml)
    assert_finished(root)
    assert digests(root) == digests(whole)


def test_a_work_folder_that_can_not_be_cleared_is_no_obstacle(undisturbed, tmp_path, write_run):
    run_yaml = write_run(tmp_path)
    before = failing("rename", "/manifest/candidates.json$")
    assert_one_sentence(Run(run_yaml, before=before).wait())
    ended = Run(run_yaml, before=failing("unlink", r"/listed\.parquet$")).wait()
    assert ended.status == 0, ended.said
    assert_finished(tmp_path / "dataset")
    assert digests(tmp_path / "dataset") == digests(undisturbed[0])


def test_a_call_that_fails_in_a_worker_process_is_one_sentence(undisturbed, tmp_path, write_run):
    whole, _ = undisturbed
    root = rewound(whole, tmp_path / "dataset", to="assemble")
    run_yaml = write_run(tmp_path, runner={"kind": "processes", "workers": 2})
    ended = Run(run_yaml, before=failing("rename", "/samples/part-00004")).wait()
    assert_one_sentence(ended)
    assert "samples/part-00004.parquet: can't be written: Input/output error" in ended.said
    assert_part_of(root, whole)
    finish(write_run(tmp_path))
    assert digests(root) == digests(whole)


def test_what_duckdb_writes_itself_fails_in_one_sentence(undisturbed, tmp_path, write_run):
    whole, _ = undisturbed
    root = rewound(whole, tmp_path / "dataset", to="generate.main")
    run_yaml = write_run(tmp_path, reuse=[str(whole)])
    ended = Run(run_yaml, before=failing("write", r"/\.work/reuse/", errno="ENOSPC")).wait()
    assert_one_sentence(ended)
    assert "No space left on device" in ended.said
    finish(run_yaml)
    assert_finished(root)


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
