"""A training that was stopped goes on to the bit, or says why it can't."""

import hashlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from loop_processes import run_training
from safetensors.torch import load_file

from sllm_data.errors import SllmDataError
from sllm_data.steps import Progress
from sllm_data.trainer.checkpoint import newest_checkpoint
from sllm_data.trainer.distributed import Ranks
from sllm_data.trainer.loop import Bar, train


def _losses(output: Path) -> list[tuple[int, float, float]]:
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"], line["grad_norm"]) for line in lines]


def _checkpoints(output: Path) -> list[Path]:
    return sorted((output / "checkpoints").iterdir())


def _refusal(config: object) -> str:
    with pytest.raises(SllmDataError) as caught:
        train(config, Progress(None))
    return str(caught.value)


def _reopened(output: Path) -> None:
    """Makes a finished training one that was stopped behind its last checkpoint but one."""
    (output / "report.json").unlink()
    last = _checkpoints(output)[-1]
    for file in last.iterdir():
        file.unlink()
    last.rmdir()


def test_killed_at_a_random_step_and_restarted_the_losses_are_the_same_to_the_bit(
    straight, document, processes, tmp_path
):
    lines = random.SystemRandom().randint(1, 5)
    output = tmp_path / "out"
    metrics = output / "metrics.jsonl"
    process = processes.Process(target=run_training, args=(document(output),))
    process.start()
    while process.is_alive() and not (
        metrics.exists() and metrics.read_bytes().count(b"\n") >= lines
    ):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (output / "report.json").exists()

    run_training(document(output))

    assert _losses(output) == _losses(straight), f"killed behind step {lines}"
    trained = "model/weights.safetensors"
    assert (output / trained).read_bytes() == (straight / trained).read_bytes()


class _Pressing:
    """A bar at whose third step a signal is sent to this process, once."""

    def __init__(self, number: int) -> None:
        self._number, self._steps = number, 0

    @contextmanager
    def bar(self, _name: str, _total: int) -> Iterator[Bar]:
        yield self

    def advance(self, step: int = 1, note: str | None = None) -> None:
        self._steps += step
        if self._steps == 3 and note:
            signal.raise_signal(self._number)


class _SentAway(BaseException):
    """Raised by SIGTERM while a test runs, as SystemExit by the command line's handler."""


@pytest.fixture
def sent_away():
    def end(_number, _frame):
        raise _SentAway

    before = signal.signal(signal.SIGTERM, end)
    yield end
    assert signal.getsignal(signal.SIGTERM) is end
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGTERM, _SentAway), (signal.SIGINT, KeyboardInterrupt)]
)
@pytest.mark.usefixtures("sent_away")
def test_asked_to_stop_it_writes_a_checkpoint_first_and_goes_on_to_the_bit(
    straight, configured, tmp_path, number, ends
):
    config, said = configured(tmp_path / "out", checkpoints={"every_steps": 1_000}), []
    with pytest.raises(ends):
        train(config, _Pressing(number), say=said.append)

    assert said == ["asked to stop: the checkpoint of step 3 is written"]
    assert _losses(config.output) == _losses(straight)[:3]
    assert train(config, Progress(None)).steps_now == 4
    assert _losses(config.output) == _losses(straight)


def test_with_states_kept_too_since_a_clip_is_encoded_by_itself(document, configured, tmp_path):
    model = document(tmp_path)["model"]
    model["encoder"]["kept_gib"] = 0.1
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(configured(whole, model=model), Progress(None))
    train(configured(stopped, model=model), Progress(None))
    _reopened(stopped)
    assert train(configured(stopped, model=model), Progress(None)).steps_now == 1

    assert _losses(stopped) == _losses(whole)


def test_in_16_bits_what_is_trained_has_32_and_it_goes_on_to_the_bit(
    straight, document, configured, tmp_path
):
    sections = {
        "precision": "bf16",
        "checkpoints": {"every_steps": 1},
        "stages": document(tmp_path)["stages"][1:],
    }
    sections["stages"][0]["steps"] = 3
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(configured(whole, **sections), Progress(None))
    shutil.copytree(whole, stopped)
    _reopened(stopped)
    assert train(configured(stopped, **sections), Progress(None)).steps_now == 1

    assert _losses(stopped) == _losses(whole)
    weights = [load_file(output / "model/weights.safetensors") for output in (whole, stopped)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    (_, first, _), (_, in_32_bits, _) = _losses(whole)[0], _losses(straight)[0]
    assert first != in_32_bits
    assert first == pytest.approx(in_32_bits, rel=0.03)
    state = torch.load(_checkpoints(whole)[-1] / "rank-00000.pt", weights_only=True)
    means = [mean for found in state["means"].values() for mean in found.values()]
    for value in (*weights[0].values(), *state["parameters"].values(), *means):
        assert value.dtype == torch.float32


def test_with_workers_the_losses_are_the_same_to_the_bit(straight, configured, tmp_path, world):
    output = tmp_path / "out"
    data = {"datasets": [{"path": str(world)}], "budget": 96, "workers": 1}
    train(configured(output, data=data), Progress(None))

    assert _losses(output) == _losses(straight)


def test_a_finished_training_returns_at_once(copied, configured):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}

    report = train(configured(copied), Progress(None))

    assert report.was_done
    assert report.steps == 7
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_a_cut_checkpoint_is_told_and_the_one_before_is_taken(straight, copied, configured):
    (copied / "report.json").unlink()
    file = _checkpoints(copied)[-1] / "rank-00000.pt"
    file.write_bytes(file.read_bytes()[:-100])
    said = []

    report = train(configured(copied), Progress(None), say=said.append)

    assert report.steps_now == 1
    assert _losses(copied) == _losses(straight)
    (sentence,) = said
    assert "step-00000007: the checkpoint is not whole (rank-00000.pt is cut" in sentence
    assert sentence.endswith("the one before is taken")


def test_checkpoints_of_which_none_is_whole_are_refused(copied, configured):
    (copied / "report.json").unlink()
    for folder in _checkpoints(copied):
        (folder / "checkpoint.json").write_text("{")

    assert "none of the checkpoints is whole" in _refusal(configured(copied))


def test_only_the_newest_checkpoints_are_kept(straight):
    assert [path.name for path in _checkpoints(straight)] == ["step-00000006", "step-00000007"]


def test_what_a_killed_writer_left_is_no_checkpoint(copied, configured):
    left = copied / "checkpoints/.step-00000009.tmp"
    left.mkdir()
    (left / "checkpoint.json").write_text("{}")

    found = newest_checkpoint(copied / "checkpoints", Ranks(), say=print)

    assert found is not None
    assert found.step == 7


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"seed": 2}, "seed: 1 -> 2"),
        ({"accumulation": 2}, "accumulation: 1 -> 2"),
        ({"optimizer": {"weight_decay": 0.1}}, "optimizer.weight_decay: 0.0 -> 0.1"),
        ({"losses": {"cross_entropy": {"weight": 2.0}}}, "losses.cross_entropy.weight: 1.0 -> 2"),
    ],
)
def test_another_configuration_is_refused_by_name(copied, configured, sections, named):
    assert named in _refusal(configured(copied, **sections))

    (copied / "report.json").unlink()

    assert named in _refusal(configured(copied, **sections))


@pytest.mark.parametrize("step", ["assemble", "ingest"])
def test_other_data_is_refused_by_name(copied, document, configured, world, tmp_path, step):
    (copied / "report.json").unlink()
    other = tmp_path / world.name
    other.mkdir()
    for path in world.iterdir():
        if path.name != "manifest":
            (other / path.name).symlink_to(path)
    (other / "manifest").mkdir()
    for path in (world / "manifest").iterdir():
        text = path.read_text()
        if path.name == f"{step}.json":
            text = text.replace('"sha256": "', '"sha256": "9', 1)
        (other / "manifest" / path.name).write_text(text)

    data = {"datasets": [{"path": str(other)}], "budget": 96, "workers": 0}

    assert "datasets.0 dataset: " in _refusal(configured(copied, data=data))


def test_operational_fields_may_change(straight, copied, configured, world):
    _reopened(copied)
    data = {"datasets": [{"path": str(world)}], "budget": 96, "workers": 1, "prefetch": 2}

    report = train(
        configured(
            copied,
            data=data,
            checkpoints={"every_steps": 1, "keep": 5},
            logging={"boards": ["tensorboard"]},
        ),
        Progress(None),
    )

    assert report.steps_now == 1
    assert _losses(copied) == _losses(straight)
    assert list((copied / "tensorboard").iterdir())


def test_a_checkpoint_of_another_model_is_refused(copied, configured):
    (copied / "report.json").unlink()
    folder = _checkpoints(copied)[-1]
    state = torch.load(folder / "rank-00000.pt", weights_only=True)
    facts = json.loads((folder / "checkpoint.json").read_text())
    state["parameters"]["connector.other"] = torch.zeros(1)
    torch.save(state, folder / "rank-00000.pt")
    digest = hashlib.sha256((folder / "rank-00000.pt").read_bytes()).hexdigest()
    facts["files"] = {"rank-00000.pt": digest}
    (folder / "checkpoint.json").write_text(json.dumps(facts))

    assert "the first is connector.other" in _refusal(configured(copied))


def test_another_number_of_processes_than_wrote_a_checkpoint_is_refused(copied, configured):
    (copied / "report.json").unlink()
    path = _checkpoints(copied)[-1] / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"world_size": 2}))

    assert "by as many processes as wrote it, 2, not 1" in _refusal(configured(copied))
