"""Killed at any moment and started again, a run ends with the bytes of an undisturbed one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from steps_datasets import build, digests, rows

_GLANCE_S = 0.02  # between two looks at the folder; the moment itself is a number of files


def _start(run_yaml: Path) -> subprocess.Popen[bytes]:
    with run_yaml.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sllm_data.cli", "run", str(run_yaml)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            # a shell starts background jobs with SIGINT ignored, and children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )


def _said(run_yaml: Path) -> str:
    return run_yaml.with_suffix(".log").read_text()


def _num_parts(root: Path) -> int:
    return sum(name.startswith("part-") for _, _, names in os.walk(root) for name in names)


def _kill_once(run_yaml: Path, root: Path, *, at_parts: int) -> bool:
    """Kills the whole process group when so many parts stand; False if it ended before."""
    process = _start(run_yaml)
    while process.poll() is None:
        time.sleep(_GLANCE_S)
        if _num_parts(root) >= at_parts:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
    assert process.returncode == 0, _said(run_yaml)
    return False


def _finish(run_yaml: Path) -> None:
    assert _start(run_yaml).wait() == 0, _said(run_yaml)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, configured) -> Path:
    root = tmp_path_factory.mktemp("undisturbed") / "dataset"
    build(configured(root, part_size=6))
    return root


# Moments in number of files: while listing, ingesting, planning, generating, assembling.
@pytest.mark.parametrize(
    ("runner", "moments"),
    [("serial", (3, 20, 45, 62)), ("processes", (14, 31, 52, 70))],
)
def test_killed_runs_end_with_the_bytes_of_an_undisturbed_one(
    undisturbed, tmp_path, document, moments, runner
):
    root, run_yaml = tmp_path / "dataset", tmp_path / "run.yaml"
    fields = document(root, part_size=6, runner={"kind": runner, "workers": 2})
    run_yaml.write_text(yaml.safe_dump(fields))
    total = _num_parts(undisturbed)
    killed = [_kill_once(run_yaml, root, at_parts=moment * total // 80) for moment in moments]
    _finish(run_yaml)

    assert any(killed)
    assert digests(root) == digests(undisturbed)


def test_no_torn_file_stands_under_a_final_name(undisturbed, tmp_path, document):
    root, run_yaml = tmp_path / "dataset", tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(document(root, part_size=6)))
    _kill_once(run_yaml, root, at_parts=_num_parts(undisturbed) // 2)

    whole = digests(undisturbed)
    for name, digest in digests(root).items():
        assert whole[name] == digest
    assert rows(root, "candidates") == rows(undisturbed, "candidates")


def test_ctrl_c_ends_with_a_sentence_and_goes_on_later(undisturbed, tmp_path, document):
    root, run_yaml = tmp_path / "dataset", tmp_path / "run.yaml"
    fields = document(root, part_size=6, runner={"kind": "processes", "workers": 2})
    run_yaml.write_text(yaml.safe_dump(fields))
    process = _start(run_yaml)
    while process.poll() is None and _num_parts(root) < _num_parts(undisturbed) // 3:
        time.sleep(_GLANCE_S)
    os.killpg(process.pid, signal.SIGINT)

    assert process.wait() == 130
    assert "the same command goes on" in _said(run_yaml)
    assert "Traceback" not in _said(run_yaml)
    _finish(run_yaml)
    assert digests(root) == digests(undisturbed)
