"""Arms of a study: trainings that differ in what is compared and in nothing else."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sllm_data.errors import TrainingError
from sllm_data.files import write_text
from sllm_data.testbed.assets import shipped

Document = dict[str, Any]  # Any: YAML and JSON

_LAST_LINES = 3


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One training."""

    name: str
    means: str
    """What it is, for people."""
    tasks: tuple[str, ...] = ()
    """Rows of these tasks; all where empty."""
    llm: Document = field(default_factory=dict)
    """Over the defaults of `model.llm`."""
    llm_rate: float = 0.0
    """Learning rate of the LLM, or of its LoRA."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of an arm with one seed."""

    arm: Arm
    seed: int
    folder: Path
    """Of the training; the evaluation is in it."""
    figures: Mapping[str, Any]  # Any: evaluation.json
    """As `sllm-data evaluate` wrote them."""
    report: Mapping[str, Any]  # Any: report.json
    """Of `sllm-data train`."""


def run_arms(  # noqa: PLR0913 - all that a study depends on
    arms: Sequence[Arm],
    dataset: Path,
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
        dataset: What all of them train on.
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
    with _stopping() as run, ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [
            pool.submit(_run, arm, seed, dataset, folder, scale, run) for arm, seed in wanted
        ]
        try:
            for future in as_completed(futures):
                outcome = future.result()
                found[outcome.arm.name, outcome.seed] = outcome
                say(f"{len(found)} of {len(wanted)}: {outcome.arm.name}, seed {outcome.seed}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            run.stop()
            raise
    return [found[arm.name, seed] for arm, seed in wanted]


def train_document(arm: Arm, seed: int, dataset: Path, output: Path, scale: Scale) -> Document:
    """Returns the train.yaml of an arm."""
    return {
        "output": str(output),
        "seed": seed,
        "device": "auto",
        "data": {
            "datasets": [{"path": str(dataset), "tasks": list(arm.tasks)}],
            "budget": scale.budget,
            "workers": 0,
        },
        "model": {
            "encoder": {"model": str(shipped("encoder"))},
            "connector": {"window_seconds": 0.34, "hidden_size": 128, "heads": 4},
            "llm": {"model": str(shipped("backbone")), **arm.llm},
        },
        "stages": [
            {
                "steps": scale.steps,
                "learning_rates": {"connector": 2e-3, "llm": arm.llm_rate},
                "warmup_steps": max(1, scale.steps // 20),
            }
        ],
        "checkpoints": {"every_steps": max(1, scale.steps // 4)},
        "logging": {"boards": []},
    }


def _run(
    arm: Arm, seed: int, dataset: Path, folder: Path, scale: Scale, run: "_Commands"
) -> Outcome:
    output = folder / f"{arm.name}-seed{seed}"
    path = output.with_suffix(".yaml")
    document = train_document(arm, seed, dataset, output, scale)
    write_text(path, yaml.safe_dump(document, sort_keys=False))
    run("train", str(path), log=output.with_suffix(".log"))
    asked = ("--split", scale.split, "--limit", str(scale.rows))
    evaluation = output / f"evaluation-{scale.split}-{scale.rows}"
    if not (evaluation / "index.html").exists():
        sides = ("--sides", "speech,text,backbone", "--max-tokens", "96")
        run(
            *("evaluate", str(output), str(dataset), *asked, *sides, "--out", str(evaluation)),
            log=output.with_suffix(".log"),
        )
    return Outcome(
        arm=arm,
        seed=seed,
        folder=output,
        figures=json.loads((evaluation / "evaluation.json").read_text("utf-8")),
        report=json.loads((output / "report.json").read_text("utf-8"))["report"],
    )


class _Commands:
    """Runs commands of this package, and ends all that run when it is told to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(self, *arguments: str, log: Path) -> None:
        # models as small as these are slower with more threads than with one
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with log.open("ab") as file:
            with self._lock:
                if self._stopped:
                    raise TrainingError("the study was stopped")
                process = subprocess.Popen(
                    [sys.executable, "-m", "sllm_data.cli", *arguments],
                    env=environment,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
                self._running.add(process)
            status = process.wait()
            with self._lock:
                self._running.discard(process)
        if status:
            said = log.read_text("utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
            raise TrainingError(
                f"sllm-data {arguments[0]} {arguments[1]} must end well, ended with {status}: "
                f"{' / '.join(said)}; the whole of it is in {log}"
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
