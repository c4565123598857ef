"""Disks that are full, read-only or not ours: one sentence, and room is all it takes.

A real tmpfs is filled by the run itself; it grows from one run to the next.
"""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from steps_datasets import digests

from sllm_data.exporting import read_back
from tests.faults.harness import (
    STEPS,
    Ended,
    Run,
    assert_one_sentence,
    finish,
    step_of,
)
from tests.faults.integrity import assert_finished, assert_part_of, assert_whole

PROGRAM = str(Path(__file__).with_name("small_disk.py"))
LIMITED = """
import ctypes, os, resource, sys
if sys.argv[1] == "no-override":  # root is told of permissions like everybody else
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
else:
    # Python does not notice that it wrote half of a module's code, and would trip over it later
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture(scope="session")
def unshare() -> list[str]:
    """The command that may mount a disk where nobody else sees it."""
    for flags in ("-m", "-rm"):
        command = ["unshare", flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return ["unshare", flags, "--propagation", "private"]
    pytest.skip("needs root, or user namespaces (unshare -rm), to mount a small disk")


@pytest.fixture
def on_small_disks(unshare, tmp_path, write_run):
    """Runs once for each mount option; returns how each run ended, and the folder of copies."""

    def run(*options: str) -> list[Ended]:
        run_yaml, root, keep = write_run(tmp_path), tmp_path / "dataset", tmp_path / "kept"
        root.mkdir()
        keep.mkdir()
        before = [*unshare, sys.executable, PROGRAM, str(root), str(keep), *options, "--"]
        whole = Run(run_yaml, before=before).wait()
        assert whole.status == 0, whole.said
        return [
            Ended(
                status=int((keep / f"{k}.status").read_text()),
                said=(keep / f"{k}.err").read_text(),
                reported="",
            )
            for k in range(len(options))
        ]

    return run


def fills_in(step: str, whole: Path) -> str:
    """The size of a disk that holds all that comes before a step, and half of the step."""
    sizes = dict.fromkeys(("", *STEPS), 0)
    for path in whole.rglob("*"):
        if path.is_file():
            name = step_of(str(path.relative_to(whole)))
            if name == "" and path.name != "run.yaml":
                name = "assemble"  # cards
            sizes[name if name in sizes else ""] += 4096 * math.ceil(path.stat().st_size / 4096)
    before = sum(sizes[name] for name in STEPS[: STEPS.index(step)])
    return f"size={(sizes[''] + before + sizes[step] // 2) // 1024}k"


def test_a_disk_that_fills_in_any_step_is_one_sentence_and_room_is_enough(
    undisturbed, tmp_path, on_small_disks
):
    whole, _ = undisturbed
    *full, last = on_small_disks(*(fills_in(step, whole) for step in STEPS), "size=64m")

    for number, ended in enumerate(full):
        kept = tmp_path / f"kept/{number}"
        assert_one_sentence(ended)
        assert "No space left on device; make room" in ended.said
        assert {path.stem for path in kept.glob("manifest/*")} == set(STEPS[:number])
        assert_whole(kept)
        assert_part_of(kept, whole)
    assert last.status == 0
    assert_finished(tmp_path / f"kept/{len(STEPS)}")
    assert digests(tmp_path / f"kept/{len(STEPS)}") == digests(whole)


def test_a_disk_without_inodes_is_one_sentence_and_room_is_enough(
    undisturbed, tmp_path, on_small_disks
):
    whole, _ = undisturbed
    count = len(list(whole.rglob("*")))
    *full, last = on_small_disks(
        *(f"size=64m,nr_inodes={max(2, int(count * share))}" for share in (0, 0.5)),
        "size=64m,nr_inodes=10000",
    )

    for number, ended in enumerate(full):
        assert_one_sentence(ended)
        assert "No space left on device" in ended.said
        assert_part_of(tmp_path / f"kept/{number}", whole)
    assert last.status == 0
    assert digests(tmp_path / f"kept/{len(full)}") == digests(whole)


def test_a_disk_that_is_read_only_is_one_sentence(undisturbed, tmp_path, on_small_disks):
    refused, last = on_small_disks("ro", "rw,size=64m")

    assert_one_sentence(refused)
    assert "must be a folder that can be written, found: Read-only file system" in refused.said
    assert last.status == 0
    assert digests(tmp_path / "kept/1") == digests(undisturbed[0])


def test_a_bound_on_the_size_of_files_is_one_sentence(undisturbed, tmp_path, write_run):
    run_yaml, root = write_run(tmp_path), tmp_path / "dataset"
    largest = max(path.stat().st_size for path in undisturbed[0].glob("**/*.parquet"))
    for limit in (1_000, largest - 1):
        before = [sys.executable, "-c", LIMITED, str(limit)]
        ended = Run(run_yaml, before=before).wait()
        assert_one_sentence(ended)
        assert "can't be written: File too large" in ended.said
        assert_part_of(root, undisturbed[0])
    finish(run_yaml)
    assert digests(root) == digests(undisturbed[0])


def test_a_folder_that_is_not_writable_is_one_sentence(undisturbed, tmp_path, write_run):
    run_yaml, root = write_run(tmp_path), tmp_path / "dataset"
    for folder in ("", "audio", "manifest"):
        closed = root / folder
        closed.mkdir(parents=True, exist_ok=True)
        closed.chmod(0o555)
        ended = Run(run_yaml, before=[sys.executable, "-c", LIMITED, "no-override"]).wait()
        assert_one_sentence(ended)
        assert "Permission denied" in ended.said
        closed.chmod(0o755)
    finish(run_yaml)
    assert digests(root) == digests(undisturbed[0])


EXPORT = ("-m", "sllm_data.cli", "export")
EXPORTS = ("huggingface", "ms-swift", "nemo", "lhotse-shar")  # Parquet, files, lines, tars


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_to_a_disk_that_fills_is_one_sentence_and_leaves_nothing(
    name, undisturbed, tmp_path, unshare
):
    disk, keep = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    keep.mkdir()
    options = [str(disk / "out"), "--format", name]
    before = [
        *unshare,
        sys.executable,
        PROGRAM,
        str(disk),
        str(keep),
        "size=64k",
        "size=64m",
        "--",
    ]
    # standard output and error of the whole go beside this file, which is none
    beside = tmp_path / "dataset"
    beside.symlink_to(undisturbed[0])
    whole = Run(beside, options, before=before, program=EXPORT).wait()
    assert whole.status == 0, whole.said
    full = Ended(
        status=int((keep / "0.status").read_text()), said=(keep / "0.err").read_text(), reported=""
    )
    assert_one_sentence(full)
    assert "No space left on device; make room" in full.said
    assert list((keep / "0").iterdir()) == []
    assert (keep / "1.status").read_text() == "0"
    assert [path.name for path in (keep / "1").iterdir()] == ["out"]
    assert read_back(keep / "1/out").rows > 10


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_under_a_bound_on_the_size_of_files_is_one_sentence(name, undisturbed, tmp_path):
    beside = tmp_path / "dataset"
    beside.symlink_to(undisturbed[0])
    before = [sys.executable, "-c", LIMITED, "1000"]
    options = [str(tmp_path / "out"), "--format", name]
    ended = Run(beside, options, before=before, program=EXPORT).wait()
    assert_one_sentence(ended)
    assert "can't be written: File too large" in ended.said
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / ".out.tmp").exists()
