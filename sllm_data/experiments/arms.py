"""Arms of a study: trainings that differ in what is compared and in nothing else."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sllm_data.documents import Document, merged
from sllm_data.errors import TrainingError
from sllm_data.evaluation.predictions import Prediction, read_predictions
from sllm_data.experiments.spoken import WHOLE, Data
from sllm_data.files import write_text
from sllm_data.lifeline import with_lifeline
from sllm_data.shards import read_part
from sllm_data.testbed.assets import shipped

_LAST_LINES = 3
_LOOK_S = 10.0
_FIRST_STEPS = 160  # of all trainings together, which encode clips that none knows yet
_SEEN_STEPS = 40
_ASKED_TIMES = 28  # in a training: the loss on rows that no arm trains
_ASKED_PACKS = 4
_KEPT_GIB = 1.0  # 11 hours of the shipped encoder's states, and 9 of features


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is trained and asked."""

    steps: int
    budget: int
    """Positions of a pack."""
    rows: int
    """Of each task in each group, that are asked."""
    split: str = "test"
    """Whose rows are asked: choices are made on `validation`."""
    looked: int = 0
    """Rows of each task on which the model is looked into."""
    cascades: bool = False
    """Whether a cascade of the same encoder and backbone is asked, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One training."""

    name: str
    means: str
    """What it is, for people."""
    tasks: tuple[str, ...] = ()
    """Rows of these tasks; all where empty."""
    llm_rate: float = 0.0
    """Learning rate of the LLM, or of its LoRA."""
    data: Data = WHOLE
    """What is trained on."""
    train: Document = field(default_factory=dict)
    """Laid over the train.yaml that all arms have; a mapping over a mapping key by key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of an arm with one seed."""

    arm: Arm
    seed: int
    folder: Path
    """Of the training."""
    evaluation: Path
    """The folder of what was asked, in that of the training."""
    answers: Sequence[Prediction]
    """As `sllm-data evaluate` wrote them."""
    heard: Mapping[str, str]
    """By sample_id: which audio was heard."""
    inside: Mapping[str, Any] | None  # Any: `diagnostics` of evaluation.json
    """What was seen inside the model, where somebody looked."""
    report: Mapping[str, Any]  # Any: report.json
    """Of `sllm-data train`."""
    losses: Mapping[int, float] = field(default_factory=dict)
    """By step: on rows of WHOLE that no arm trains, nats a token of their answers."""
    latency: Sequence[Mapping[str, Any]] = ()  # Any: JSON
    """Of one answer and of many at once, where a cascade was asked."""


def run_arms(  # noqa: PLR0913 - all that a study depends on
    arms: Sequence[Arm],
    datasets: Mapping[Data, Path],
    folder: Path,
    scale: Scale,
    *,
    seeds: Sequence[int],
    jobs: int,
    say: Callable[[str], None],
) -> list[Outcome]:
    """Trains and evaluates all arms, some at once, by the commands a user would give.

    Args:
        arms: What is compared.
        datasets: What each trains on, and what all of them are asked about: WHOLE.
        folder: Each arm and seed has a folder in it; what is finished there is kept.
        scale: How much.
        seeds: Of weights and order; each arm is trained with each.
        jobs: Trainings at once, of one thread each.
        say: Told what was finished.

    Raises:
        TrainingError: A command ended without having done its work; the others are stopped.
    """
    wanted = [(arm, seed) for seed in seeds for arm in arms]
    found: dict[tuple[str, int], Outcome] = {}
    forecast = _Forecast([output_of(folder, arm, seed) for arm, seed in wanted], scale.steps)
    with _stopping() as run, ThreadPoolExecutor(max_workers=jobs) as pool:
        left = {pool.submit(_run, arm, seed, datasets, folder, scale, run) for arm, seed in wanted}
        try:
            while left:
                done, left = wait(left, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = future.result()
                    found[outcome.arm.name, outcome.seed] = outcome
                    say(f"{len(found)} of {len(wanted)}: {outcome.arm.name}, seed {outcome.seed}")
                if left and (sentence := forecast.sentence()):
                    say(sentence)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            run.stop()
            raise
    return [found[arm.name, seed] for arm, seed in wanted]


def train_document(
    arm: Arm, seed: int, datasets: Mapping[Data, Path], output: Path, scale: Scale
) -> Document:
    """Returns the train.yaml of an arm."""
    document = {
        "output": str(output),
        "seed": seed,
        "device": "auto",
        "data": {
            "datasets": [{"path": str(datasets[arm.data]), "tasks": list(arm.tasks)}],
            "budget": scale.budget,
            "workers": 0,
            "kept_gib": _KEPT_GIB,
        },
        "model": {
            "encoder": {"model": str(shipped("encoder")), "kept_gib": _KEPT_GIB},
            "connector": {"window_seconds": 0.34, "hidden_size": 128, "heads": 4},
            "llm": {"model": str(shipped("backbone"))},
        },
        "stages": [
            {
                "steps": scale.steps,
                "learning_rates": {"connector": 2e-3, "llm": arm.llm_rate},
                "warmup_steps": max(1, scale.steps // 20),
            }
        ],
        "validation": {
            "every_steps": max(1, scale.steps // _ASKED_TIMES),
            "packs": _ASKED_PACKS,
            "datasets": [{"path": str(datasets[WHOLE])}],
        },
        "checkpoints": {"every_steps": max(1, scale.steps // 4)},
        "logging": {"boards": []},
    }
    return merged(document, arm.train)


def _run(
    arm: Arm,
    seed: int,
    datasets: Mapping[Data, Path],
    folder: Path,
    scale: Scale,
    run: "_Commands",
) -> Outcome:
    output = output_of(folder, arm, seed)
    path = beside(output, ".yaml")
    dataset = datasets[WHOLE]
    document = train_document(arm, seed, datasets, output, scale)
    write_text(path, yaml.safe_dump(document, sort_keys=False))
    run("train", str(path), log=beside(output, ".log"))
    asked = (
        *("--split", scale.split, "--limit", str(scale.rows), "--diagnose", str(scale.looked)),
    )
    evaluation = _done(output, scale)
    if evaluation is None:
        evaluation = output / _evaluation(scale)
        sides = "speech,text,backbone,cascade" if scale.cascades else "speech,text,backbone"
        how = ("--sides", sides, "--asr", str(shipped("encoder")), "--max-tokens", "96")
        run(
            *("evaluate", str(output), str(dataset), *asked, *how, "--out", str(evaluation)),
            log=beside(output, ".log"),
        )
    found = json.loads((evaluation / "evaluation.json").read_text("utf-8"))
    return Outcome(
        arm=arm,
        seed=seed,
        folder=output,
        evaluation=evaluation,
        answers=read_predictions(evaluation / "predictions.jsonl"),
        heard=heard_in(dataset),
        inside=found.get("diagnostics"),
        report=json.loads((output / "report.json").read_text("utf-8"))["report"],
        losses=_losses(output / "metrics.jsonl"),
        latency=found.get("latency", ()),
    )


def _losses(metrics: Path) -> dict[int, float]:
    steps = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    return {
        each["step"]: each["validation_loss"]
        for each in steps
        if each["validation_loss"] is not None
    }


def _evaluation(scale: Scale) -> str:
    """Names the folder of an evaluation."""
    name = f"evaluation-{scale.split}-{scale.rows}-{scale.looked}"
    return f"{name}-cascade" if scale.cascades else name


def _done(output: Path, scale: Scale) -> Path | None:
    """Returns an evaluation that is there and asked as much, or looked at more besides."""
    asked = re.compile(rf"evaluation-{scale.split}-{scale.rows}-(\d+)(-cascade)?")
    for page in sorted(output.glob("evaluation-*/index.html")):
        if (found := asked.fullmatch(page.parent.name)) is None:
            continue
        looked, cascade = int(found[1]), found[2] is not None
        if looked >= scale.looked and cascade >= scale.cascades:
            return page.parent
    return None


def output_of(folder: Path, arm: Arm, seed: int) -> Path:
    """Returns the folder of a training."""
    return folder / f"{arm.name}-seed{seed}"


def beside(output: Path, ending: str) -> Path:
    """Returns the file beside a training's folder; names of arms may have dots."""
    return output.with_name(output.name + ending)


class _Forecast:
    """Says once how long all trainings will take, when it has seen enough of them."""

    def __init__(self, outputs: Sequence[Path], steps: int) -> None:
        self._outputs = outputs
        self._steps = steps
        self._done = self._made()
        self._since: tuple[float, int] | None = None
        self._is_said = False

    def sentence(self) -> str | None:
        """Returns the forecast where it is time for it."""
        made = self._made()
        if self._is_said or made - self._done < _FIRST_STEPS:
            return None
        if self._since is None:
            self._since = time.monotonic(), made
        start, before = self._since
        if made - before < _SEEN_STEPS:
            return None
        self._is_said = True
        left = self._steps * len(self._outputs) - made
        seconds = (time.monotonic() - start) / (made - before) * left
        return (
            f"{len(self._outputs)} trainings of {self._steps:,} steps: about {seconds / 60:.0f} "
            "minutes to go, and the questions to each model"
        )

    def _made(self) -> int:
        return sum(self._steps_of(output) for output in self._outputs)

    def _steps_of(self, output: Path) -> int:
        metrics = output / "metrics.jsonl"
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


@cache
def heard_in(dataset: Path) -> dict[str, str]:
    """Returns by sample_id which audio a row hears first; nothing where it is read.

    Raises:
        ShardError: A part is damaged.
    """
    return {
        row["sample_id"]: row["audio_refs"][0]["audio_id"] if row["audio_refs"] else ""
        for path in sorted((dataset / "samples").glob("part-*.parquet"))
        for row in read_part(path, ["sample_id", "audio_refs"]).to_pylist()
    }


class _Commands:
    """Runs commands of this package, and ends all that run when it is told to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(self, *arguments: str, log: Path) -> None:
        # models as small as these are slower with more threads than with one
        environment = with_lifeline(os.environ | {"OMP_NUM_THREADS": "1"})
        with log.open("ab") as file:
            before = file.tell()  # what was said by earlier commands is not why this one fails
            with self._lock:
                if self._stopped:
                    raise TrainingError("the study was stopped")
                process = subprocess.Popen(
                    [sys.executable, "-m", "sllm_data.cli", *arguments],
                    env=environment,
                    stdin=subprocess.PIPE,  # its end, also where this process is killed
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
                self._running.add(process)
            status = process.wait()
            if process.stdin is not None:
                process.stdin.close()
            with self._lock:
                self._running.discard(process)
        if status:
            said = log.read_bytes()[before:].decode("utf-8", errors="replace").strip().splitlines()
            raise TrainingError(
                f"sllm-data {arguments[0]} {arguments[1]} must end well, ended with {status}: "
                f"{' / '.join(said[-_LAST_LINES:])}; the whole of it is in {log}"
            )

    def stop(self) -> None:
        """Ends what runs; what is finished or saved stays."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


@contextmanager
def _stopping() -> Iterator[_Commands]:
    run = _Commands()
    try:
        yield run
    finally:
        run.stop()
