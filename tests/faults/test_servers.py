"""A server that is down, dies, fails or answers nonsense: waited out, or an end in order."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from steps_datasets import digests, rows

from tests.faults.conftest import Write
from tests.faults.harness import Run, assert_one_sentence, finish, rewound
from tests.faults.integrity import assert_finished, assert_part_of, assert_whole

PROGRAM = Path(__file__).with_name("answer_server.py")
BACKBONE = {
    "engine": "openai",
    "model": "answers",
    "max_in_flight": 4,
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


def backbone(port: int, **changes: float) -> dict[str, object]:
    return BACKBONE | {"base_url": f"http://127.0.0.1:{port}/v1"} | changes


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
    return rewound(answered, tmp_path / "dataset", to="generate.main")


@pytest.mark.parametrize("faults", ["429,500,html,half,slow", "shuffled"])
def test_faults_that_pass_are_waited_out(answered, planned, tmp_path, write_run, faults):
    until = "1000" if faults == "shuffled" else "13"  # two of each
    with serving("--faults", faults, "--from", "3", "--until", until) as port:
        patient = backbone(port, request_timeout_s=1.0, retries=12)
        finish(write_run(tmp_path, backbone=patient))
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


def test_faults_that_last_end_each_run_and_the_next_goes_on(
    answered, planned, tmp_path, write_run
):
    for fault, why in LASTING.items():
        patience = {"request_timeout_s": 1.0} if fault == "slow" else {}
        with serving("--faults", fault, "--from", "9") as port:
            ended = Run(write_run(tmp_path, backbone=backbone(port, **patience))).wait()
        assert_one_sentence(ended)
        assert f"after 4 attempts, the last one: {why}" in ended.said
        assert_whole(planned)
        assert_part_of(planned, answered)
    assert len(rows(planned, "responses/main")) > 0
    with serving() as port:
        finish(write_run(tmp_path, backbone=backbone(port)))
    assert_finished(planned)
    assert digests(planned) == digests(answered)


def test_a_server_that_is_down_is_one_sentence(answered, planned, tmp_path, write_run):
    with serving() as port:
        pass
    ended = Run(write_run(tmp_path, backbone=backbone(port, start_timeout_s=1.0))).wait()
    assert_one_sentence(ended)
    assert "no server answers after 1 s" in ended.said
    with serving("--port", str(port)):
        finish(write_run(tmp_path, backbone=backbone(port)))
    assert digests(planned) == digests(answered)
