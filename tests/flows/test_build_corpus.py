"""The Prefect flow: the same steps as tasks, on a real temporary server."""

import asyncio
import time
from pathlib import Path

import pytest
import yaml
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.states import Failed

from flows.build_corpus import build_corpus, main
from flows.lease import NAME, held
from flows.retrying import may_pass
from sllm_data.errors import EngineError, OutputError, StorageAwayError, StorageError
from sllm_data.testbed import write_librispeech

pytestmark = [
    pytest.mark.prefect,
    # Prefect's own server code warns on this Python; none of it is ours
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def run_yaml(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    write_librispeech(folder / "LibriSpeech", subsets={"train-clean-a": 6}, num_speakers=2, seed=4)
    path = folder / "run.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "seed": 1,
                "output": str(folder / "dataset"),
                "corpora": [{"kind": "librispeech", "path": str(folder / "LibriSpeech")}],
                "backbone": {"engine": "scripted"},
                "filters": {"wrong_language": False, "copied": False},
                "runner": {"kind": "serial"},
            }
        )
    )
    return path


async def _task_states() -> list[tuple[str, str]]:
    async with get_client() as client:
        runs = await client.read_task_runs()
    return [(run.name, run.state.name) for run in runs]


async def _task_tries() -> list[tuple[str, int]]:
    async with get_client() as client:
        runs = await client.read_task_runs()
    return [(run.name, run.run_count) for run in runs]


def _wait_until_told(look):
    """The server hears of tasks by events, which may come after the end of the flow."""
    until = time.monotonic() + 120
    while not look():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_the_flow_builds_the_dataset_and_publishes_its_figures(server, run_yaml):
    dataset = build_corpus(run_yaml)
    artifact = Artifact.get(key="dataset-stats")

    assert (dataset / "README.md").exists()
    assert "| task" in artifact.data


def test_a_step_already_done_is_shown_as_such(server, run_yaml):
    build_corpus(run_yaml)
    build_corpus(run_yaml)

    _wait_until_told(lambda: ("assemble", "Already done") in asyncio.run(_task_states()))


def test_a_user_s_mistake_is_one_sentence(server, run_yaml, capsys):
    build_corpus(run_yaml)

    assert main([str(run_yaml), "--set", "seed=2"]) == 2
    assert "seed: 1 -> 2" in capsys.readouterr().err
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_command_prints_the_figures(server, run_yaml, capsys):
    assert main([str(run_yaml)]) == 0
    assert "dataset:" in capsys.readouterr().out


def test_a_wrong_configuration_is_not_retried(server, run_yaml):
    build_corpus(run_yaml)
    with pytest.raises(OutputError, match="another configuration"):
        build_corpus(run_yaml, ["seed=3"])


def test_only_what_may_pass_is_worth_a_retry():
    def wrapped(error: Exception) -> bool:
        return may_pass(None, None, Failed(data=Failed(data=error)))

    assert wrapped(EngineError("the server is down"))
    assert wrapped(StorageAwayError("the storage must answer"))
    assert not wrapped(StorageError("access must be allowed"))
    assert not wrapped(OutputError("the disk is full"))


def test_an_engine_that_fails_once_is_tried_again(server, run_yaml, tmp_path, monkeypatch):
    monkeypatch.setenv("SLLM_TEST_FAILED", str(tmp_path / "failed"))
    given = [f"output={tmp_path}/dataset", "backbone.function=failing_once:answer"]

    assert build_corpus(run_yaml, given) == tmp_path / "dataset"
    assert (tmp_path / "failed").exists()
    _wait_until_told(lambda: ("generate.main", 2) in asyncio.run(_task_tries()))


def test_a_run_beyond_its_budget_fails_before_its_first_step(server, run_yaml, tmp_path, capsys):
    arguments = ["--set", f"output={tmp_path}/dataset", "--set", "budget.gigabytes=0.000001"]

    assert main([str(run_yaml), *arguments]) == 1
    assert "what is left must fit into its budget" in capsys.readouterr().err
    assert not (tmp_path / "dataset/run.yaml").exists()
    assert not (tmp_path / "dataset" / NAME).exists()


def test_what_comes_before_the_engine_needs_no_budget(server, run_yaml, tmp_path):
    given = [f"output={tmp_path}/dataset", "budget.engine_hours=1e-9"]
    given += ["backbone.function=no_such_module:answer"]  # an engine that a probe can't start

    assert build_corpus(run_yaml, given, until_engine=True) == tmp_path / "dataset"
    assert (tmp_path / "dataset/manifest/plan.main.json").is_file()


def test_a_budget_is_looked_at_when_no_other_run_is_writing(server, run_yaml, tmp_path):
    given = [f"output={tmp_path}/dataset", "budget.gigabytes=0.000001"]
    with (
        held(tmp_path / "dataset", run_id="1", run_name="prepare"),
        pytest.raises(OutputError, match="must have one run at a time, flow run prepare"),
    ):
        build_corpus(run_yaml, given)
