"""An engine's output goes to a file, and the file tells why the engine failed."""

import logging
import subprocess
import sys

import pytest

from sllm_data.generation.engine_log import EngineLog


@pytest.fixture
def log():
    made = EngineLog()
    yield made
    made.release(logging.getLogger("nobody"))
    made.discard()


def test_what_children_write_goes_to_the_file_and_not_to_the_terminal(log, capfd):
    with log.capture(but_stderr=False):
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    subprocess.run([sys.executable, "-c", "print('afterwards')"], check=True)
    assert "from a child" in log.path.read_text()
    assert capfd.readouterr().out == "afterwards\n"


def test_a_progress_bar_on_stderr_still_reaches_the_terminal():
    script = """
import os, sys
from sllm_data.generation.engine_log import EngineLog
log = EngineLog()
with log.capture(but_stderr=True):
    print("bar", file=sys.stderr)
    os.write(2, b"noise")
print("after", file=sys.stderr)
print(log.path.read_text())
log.discard()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == "bar\nafter\n"
    assert done.stdout == "noise\n"


def test_a_stream_of_someone_elses_making_is_left_alone(log, capsys):
    with log.capture(but_stderr=True):
        sys.stderr.write("to the test\n")
    assert capsys.readouterr().err == "to the test\n"


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        ("ValueError: no memory for the cache\n", "ValueError: no memory for the cache"),
        (
            "(EngineCore pid=1) ERROR 11-20 [core.py:1] vllm.x.OddError: first\nKeyError: 'b'\n",
            "OddError: first",
        ),
        (
            "RuntimeError: Engine core initialization failed. See root cause above.\n",
            "otherwise",
        ),
        (
            "KeyError: early\nRuntimeError: Worker failed with error 'no offset', please check",
            "no offset",
        ),
        (
            "Worker proc A-0 died unexpectedly (exit code: -4)\nRuntimeError: cancelled\n",
            "a worker process was ended by SIGILL",
        ),
        (
            "Worker proc VllmWorker-0 died unexpectedly (exit code: None)\nOSError: pipe\n",
            "a worker process was ended by a signal, most likely for memory",
        ),
        (
            "Worker proc VllmWorker-0 died unexpectedly (exit code: 1)\nOSError: disk\n",
            "OSError: disk",
        ),
        ("WARNING: all is well\nError rate: 3\n", "otherwise"),
        ("", "otherwise"),
        ("MemoryError: " + "x" * 1000, "MemoryError: " + "x" * 287 + "…"),
    ],
)
def test_the_cause_is_the_first_error_that_is_no_echo_of_another(log, written, cause):
    log.path.write_text(written)
    assert log.cause("otherwise") == cause


def test_errors_from_before_are_not_the_cause_of_what_comes_later(log):
    log.path.write_text("ValueError: harmless\n")
    log.start_anew()
    assert log.cause("otherwise") == "otherwise"


def test_the_hint_names_the_file_where_there_is_something_in_it(log):
    assert log.hint == ""
    log.path.write_text("x")
    assert str(log.path) in log.hint


def test_a_logger_writes_to_the_file_until_it_is_released(log, capsys):
    logger = logging.getLogger("an engine's")
    logger.propagate = False
    logger.handlers = [logging.StreamHandler(sys.stdout), logging.NullHandler()]
    log.adopt(logger)
    logger.warning("to the file")
    log.release(logger)
    logger.warning("to the terminal")
    assert log.path.read_text() == "to the file\n"
    assert capsys.readouterr().out == "to the terminal\n"


def test_a_file_that_the_user_logs_to_gets_its_records_all_the_same(log, tmp_path):
    logger = logging.getLogger("another engine's")
    logger.propagate = False
    kept = logging.FileHandler(tmp_path / "kept.log")
    logger.handlers = [kept]
    log.adopt(logger)
    logger.warning("while it runs")
    log.release(logger)
    logger.warning("afterwards")
    kept.close()
    assert log.path.read_text() == ""
    assert (tmp_path / "kept.log").read_text() == "while it runs\nafterwards\n"


def test_a_discarded_file_is_gone():
    log = EngineLog()
    log.release(logging.getLogger("nobody"))
    log.discard()
    log.discard()
    assert not log.path.exists()
