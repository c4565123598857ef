"""Spawned processes leave the main module alone."""

import subprocess
import sys

_PROGRAM = """
import multiprocessing, sys
from sllm_data.spawning import without_main

print("main", flush=True)
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=print, args=("child",))
    with {around}:
        child.start()
    child.join()
    sys.exit(child.exitcode)
"""


def said_by(around, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import contextlib\n" + _PROGRAM.format(around=around))
    ended = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=True
    )
    return ended.stdout.split()


def test_a_spawned_process_does_not_import_the_main_module(tmp_path):
    assert said_by("without_main()", tmp_path) == ["main", "child"]
    assert said_by("contextlib.nullcontext()", tmp_path) == ["main", "main", "child"]
