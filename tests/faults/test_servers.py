"""A server that is down, dies, fails or answers nonsense: waited out, or an end in order."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from steps_datasets import digests, rows

from tests.faults.conftest import Write
from tests.faults.harness import Run, assert_one_sentence, finish
from tests.faults.integrity import assert_finished, assert_part_of, assert_whole

PROGRAM = Path(__file__).with_name("answer_server.py")
IMPATIENT = {
    "engine": "openai",
    "model": "answers",
    "max_in_flight": 4,
    "request_timeout_s": 1.0,
    "start_timeout_s": 1.0,
    "backoff_s": 0.02,
    "max_backoff_s": 0.2,
    "retries": 3,
}


@contextmanager
def serving(*options: str) -> Iterator[int]:
    """Runs a server; its port."""
    command = [sys.executable, str(PROGRAM), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def backbone(port: int) -> dict[str, object]:
    return IMPATIENT | {"base_url": f"http://127.0.0.1:{port}/v1"}


@pytest.fixture(scope="module")
def answered(tmp_path_factory, write_run: Write) -> Path:
    """A dataset that a good server answered."""
    folder = tmp_path_factory.mktemp("answered")
    with serving() as port:
        finish(write_run(folder, backbone=backbone(port)))
    assert_finished(folder / "dataset")
    return folder / "dataset"


@pytest.fixture
def planned(answered, tmp_path) -> Path:
    """The same dataset before its first answer."""
    root = tmp_path / "dataset"
    shutil.copytree(answered, root)
    for folder in ("responses", "samples", "rejections/generate.main", "rejections/assemble"):
        shutil.rmtree(root / folder)
    for step in ("generate.main", "assemble"):
        (root / f"manifest/{step}.json").unlink()
    return root


PASSING = ["429", "500", "html", "half", "slow", "shuffled"]


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_waited_out(answered, planned, tmp_path, write_run, fault):
    until = "1000" if fault == "shuffled" else "7"
    with serving("--fault", fault, "--from", "3", "--until", until) as port:
        finish(write_run(tmp_path, backbone=backbone(port)))
    assert_finished(planned)
    assert digests(planned) == digests(answered)


LASTING = {
    "429": "status 429: slow down",
    "500": "status 500: out of order",
    "html": "an answer that is no JSON: <html>a proxy says sorry</html>",
    "half": "RemoteProtocolError",
    "slow": "no answer within 1 s",
    "dies": "ConnectError",
}


@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_ends_the_run_and_the_next_one_finishes(
    answered, planned, tmp_path, write_run, fault
):
    with serving("--fault", fault, "--from", "25") as port:
        ended = Run(write_run(tmp_path, backbone=backbone(port))).wait()
    assert_one_sentence(ended)
    assert "after 4 attempts, the last one: " + LASTING[fault] in ended.said
    assert_whole(planned)
    assert_part_of(planned, answered)
    assert 0 < len(rows(planned, "responses/main")) < len(rows(answered, "responses/main"))
    with serving() as port:
        finish(write_run(tmp_path, backbone=backbone(port)))
    assert_finished(planned)
    assert digests(planned) == digests(answered)


def test_a_server_that_is_down_is_one_sentence_and_costs_no_row(
    answered, planned, tmp_path, write_run
):
    with serving() as port:
        pass
    ended = Run(write_run(tmp_path, backbone=backbone(port))).wait()
    assert_one_sentence(ended)
    assert "no server answers after 1 s" in ended.said
    with serving("--port", str(port)):
        finish(tmp_path / "run.yaml")
    assert_finished(planned)
    assert digests(planned) == digests(answered)
