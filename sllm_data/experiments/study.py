"""A study from nothing to its page: the data, the arms, the comparison."""

import difflib
import html
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import sllm_data
from sllm_data.errors import ConfigError
from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.page import picture, table
from sllm_data.evaluation.plots import bars
from sllm_data.evaluation.report import shown
from sllm_data.experiments.arms import Arm, Outcome, Scale, beside, run_arms
from sllm_data.experiments.figures import DRAWN, FIGURES, over_seeds
from sllm_data.experiments.spoken import WHOLE, Data, make_dataset
from sllm_data.experiments.studies import STUDIES, StudyPlan
from sllm_data.files import atomic_path, output_lock, write_text
from sllm_data.reporting.text import markdown_table
from sllm_data.steps import Progress

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid #8884; }}
.wide {{ overflow-x: auto; }} img {{ max-width: 100%; height: auto; }}
pre {{ overflow-x: auto; font-size: .8rem; }}
</style></head><body><h1>{title}</h1>
{content}
</body></html>
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What a study found."""

    name: str
    outcomes: Sequence[Outcome]
    figures: Mapping[str, Mapping[str, Estimate]]
    """By arm and name: mean over seeds, from the lowest to the highest."""
    scale: Scale
    hours: float
    seconds: float
    """That this call took."""

    @property
    def plan(self) -> StudyPlan:
        """What was compared."""
        return STUDIES[self.name]


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
    with output_lock(folder):
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
            seconds=time.monotonic() - start,
        )
        write_study(study, folder)
    return study


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
    return markdown_table(("arm", *study.plan.shows), list(_lines(study)))


def _lines(study: Study) -> list[tuple[str, ...]]:
    return [
        (arm, *(shown(figures[name]) for name in study.plan.shows))
        for arm, figures in study.figures.items()
    ]


def write_study(study: Study, folder: Path) -> None:
    """Writes `study.json`, `figures.png` and `index.html` into a folder of the study's name.

    Raises:
        OutputError: The folder can't be written.
    """
    plan, at = study.plan, folder / study.name
    document = {
        "name": study.name,
        "sllm_data": sllm_data.__version__,
        "hours": study.hours,
        "scale": asdict(study.scale),
        "seconds": study.seconds,
        "figures": {
            arm: {name: asdict(each) for name, each in figures.items()}
            for arm, figures in study.figures.items()
        },
        "trainings": [
            {"arm": asdict(each.arm), "seed": each.seed, "report": dict(each.report)}
            for each in study.outcomes
        ],
    }
    write_text(at / "study.json", json.dumps(document, indent=1, default=str) + "\n")
    drawn = bars(
        plan.title,
        list(study.figures),
        {DRAWN[name]: [each[name] for each in study.figures.values()] for name in plan.draws},
    )
    if drawn is not None:
        with atomic_path(at / "figures.png") as temporary:
            temporary.write_bytes(drawn)
    write_text(at / "index.html", _page(study, drawn, at))


def _page(study: Study, drawn: bytes | None, at: Path) -> str:
    scale, shows = study.scale, study.plan.shows
    content = [
        f"<p>{html.escape(study.plan.asks)}</p>",
        (
            f"<p>{study.hours:g} hours of the small spoken world; each training "
            f"{scale.steps:,} steps of {scale.budget:,} positions; {scale.rows} rows of each task "
            f"in each group of the split {html.escape(scale.split)} were asked. Over several "
            "seeds: the mean, in brackets the lowest and the highest.</p>"
        ),
        table(("arm", *shows), _lines(study)),
    ]
    if drawn is not None:
        content.append(picture("figures", drawn))
    content.append("<h2>What the figures are</h2>")
    content.append(table(("figure", "meaning"), [(name, FIGURES[name]) for name in shows]))
    content.append("<h2>Arms</h2>")
    for each in study.outcomes:
        pages = sorted(each.folder.glob("evaluation-*/index.html"))
        links = "".join(
            f' <a href="{html.escape(os.path.relpath(page, at))}">answers</a>' for page in pages
        )
        configured = html.escape(beside(each.folder, ".yaml").read_text("utf-8"))
        content.append(
            f"<h3>{html.escape(each.arm.name)}, seed {each.seed}</h3>"
            f"<p>{html.escape(each.arm.means)}; loss {each.report['loss']:.3f} at the end; "
            f"{html.escape(os.path.relpath(each.folder, at))}{links}</p>"
            f"<details><summary>train.yaml</summary><pre>{configured}</pre></details>"
        )
    return _PAGE.format(title=html.escape(study.plan.title), content="\n".join(content))
