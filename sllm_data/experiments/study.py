"""A study from nothing to its page: the data, the arms, the comparison."""

import difflib
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import sllm_data
from sllm_data.errors import ConfigError
from sllm_data.experiments.arms import Arm, Scale, output_of, run_arms
from sllm_data.experiments.figures import figures_of, over_seeds, scores_of
from sllm_data.experiments.page import page
from sllm_data.experiments.pictures import pictures_of
from sllm_data.experiments.result import Study
from sllm_data.experiments.spoken import WHOLE, Data, make_dataset
from sllm_data.experiments.studies import STUDIES, StudyPlan
from sllm_data.files import atomic_path, output_lock, write_text
from sllm_data.reporting.text import markdown_table
from sllm_data.steps import Progress


def run_study(  # noqa: PLR0913 - all that a study depends on
    name: str,
    folder: Path,
    *,
    arms: Sequence[str],
    hours: float,
    scale: Scale,
    seeds: Sequence[int],
    jobs: int,
    progress: Progress,
    say: Callable[[str], None] = lambda _: None,
) -> Study:
    """Runs a study, or goes on with it, and writes its page.

    Args:
        name: One of STUDIES.
        folder: Holds all of it; studies in one folder share its data, and arms of one name.
        arms: Names of those that are compared; `core` and `all` where it is one of these alone.
        hours: Of speech.
        scale: How much is trained and asked.
        seeds: Of the trainings; the data has the first one.
        jobs: Trainings at once.
        progress: Shows bars of the data's steps.
        say: Told how far it is.

    Raises:
        ConfigError: There is no such arm.
        SllmDataError: A part can't be done; what is finished stays.
    """
    start = time.monotonic()
    plan = STUDIES[name]
    chosen = _chosen(plan, arms)
    scale = replace(scale, looked=plan.looked, cascades=plan.cascades)
    if plan.cascades:
        jobs = 1  # answers are timed, and nothing else may run meanwhile
    with output_lock(folder):
        say(_ahead(folder, chosen, seeds, scale, jobs))
        datasets: dict[Data, Path] = {}
        for data in dict.fromkeys((WHOLE, *(arm.data for arm in chosen))):
            datasets[data] = make_dataset(
                folder, data, hours=hours, seed=seeds[0], progress=progress
            )
            say(f"dataset: {datasets[data]}")
        outcomes = run_arms(
            chosen, datasets, folder / "arms", scale, seeds=seeds, jobs=jobs, say=say
        )
        study = Study(
            name=name,
            outcomes=outcomes,
            figures=over_seeds(outcomes),
            scale=scale,
            hours=hours,
            jobs=jobs,
            seconds=time.monotonic() - start,
            machine=_machine(),
            dataset=datasets[WHOLE],
            run_yamls=[dataset.parent / "run.yaml" for dataset in datasets.values()],
        )
        at = place_of(folder, name, scale.split)
        before = _seconds_before(at, study.command())
        study = replace(study, seconds=study.seconds + before)
        write_study(study, at)
    return study


def _ahead(
    folder: Path, arms: Sequence[Arm], seeds: Sequence[int], scale: Scale, jobs: int
) -> str:
    """Says what there is to do, and how long it takes where finished trainings tell."""
    data = {WHOLE, *(arm.data for arm in arms)}
    made = sum((folder / each.folder / "dataset").is_dir() for each in data)
    reports = [
        json.loads(report.read_text("utf-8"))["report"]
        for arm in arms
        for seed in seeds
        if (report := output_of(folder / "arms", arm, seed) / "report.json").is_file()
    ]
    wanted = len(arms) * len(seeds)
    sentence = (
        f"datasets: {len(data)} ({made} there); trainings of {scale.steps:,} steps: {wanted} "
        f"({len(reports)} finished), and the questions to each model"
    )
    if not reports:
        return f"{sentence}; how long they take is said when the first steps are seen"
    left = (wanted - len(reports)) / jobs
    minutes = left * statistics.fmean(each["seconds"] for each in reports) / 60
    return f"{sentence}; by those, the others take about {minutes:.0f} minutes"


def _chosen(plan: StudyPlan, names: Sequence[str]) -> list[Arm]:
    if list(names) == ["core"]:
        return list(plan.core)
    arms = {arm.name: arm for arm in (*plan.core, *plan.more)}
    if list(names) == ["all"]:
        return list(arms.values())
    for name in names:
        if name not in arms:
            near = difflib.get_close_matches(name, arms, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(arms)}"
            raise ConfigError(f"--arms must be core, all, or names of arms, got {name!r}; {hint}")
    return [arms[name] for name in dict.fromkeys(names)]


def as_text(study: Study) -> str:
    """Returns the comparison as a table that reads well as plain text too."""
    return markdown_table(("arm", *study.plan.shows), study.lines())


def place_of(folder: Path, name: str, split: str) -> Path:
    """Returns the folder of a study's results; `test` is what a study is about."""
    return folder / (name if split == "test" else f"{name}-{split}")


def write_study(study: Study, at: Path) -> None:
    """Writes `study.json`, `<picture>.png` and `index.html` into a folder.

    Raises:
        OutputError: The folder can't be written.
        ShardError: The dataset lacks the clip of an example.
    """
    found = {
        "name": study.name,
        "sllm_data": sllm_data.__version__,
        "command": study.command(),
        "machine": study.machine,
        "hours": study.hours,
        "scale": asdict(study.scale),
        "jobs": study.jobs,
        "seconds": study.seconds,
        "figures": {
            arm: {name: asdict(each) for name, each in figures.items()}
            for arm, figures in study.figures.items()
        },
        "trainings": [
            {
                "arm": asdict(each.arm),
                "seed": each.seed,
                "report": dict(each.report),
                "figures": figures_of(each),
                "scores": [asdict(score) for score in scores_of(each)],
                "inside": each.inside,
                "losses": each.losses,
                "latency": each.latency,
            }
            for each in study.outcomes
        ],
    }
    pictures = pictures_of(study)
    shown = page(study, pictures, at)
    write_text(at / "study.json", json.dumps(found, indent=1, default=str) + "\n")
    for name, content in pictures.items():
        with atomic_path(at / f"{name}.png") as temporary:
            temporary.write_bytes(content)
    write_text(at / "index.html", shown)


def _seconds_before(at: Path, command: str) -> float:
    """Returns what earlier calls of the same study took; 0 where no whole file tells."""
    try:
        before = json.loads((at / "study.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # it is about to be written anew
        return 0.0
    return float(before["seconds"]) if before.get("command") == command else 0.0


def _machine() -> str:
    """Names the processor, and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0))
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(named, 'a processor without a name')}, {cores} cores"
