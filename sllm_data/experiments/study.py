"""A study from nothing to its page: the data, the arms, the comparison."""

import html
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import sllm_data
from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.page import picture, table
from sllm_data.evaluation.plots import bars
from sllm_data.evaluation.report import shown
from sllm_data.experiments.anchor_bias import CORE, FIGURES, over_seeds
from sllm_data.experiments.arms import Outcome, Scale, run_arms
from sllm_data.experiments.spoken import make_dataset
from sllm_data.files import atomic_path, output_lock, write_text
from sllm_data.reporting.text import markdown_table
from sllm_data.steps import Progress

_DRAWN = ("anchor_speech", "exact_speech")

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


def anchor_bias(  # noqa: PLR0913 - all that a study depends on
    folder: Path,
    *,
    hours: float,
    scale: Scale,
    seeds: Sequence[int],
    jobs: int,
    progress: Progress,
    say: Callable[[str], None] = lambda _: None,
) -> Study:
    """Runs the study of the anchor bias, or goes on with it, and writes its page.

    Args:
        folder: Holds all of it.
        hours: Of speech.
        scale: How much is trained and asked.
        seeds: Of the trainings; the data has the first one.
        jobs: Trainings at once.
        progress: Shows bars of the data's steps.
        say: Told how far it is.

    Raises:
        SllmDataError: A part can't be done; what is finished stays.
    """
    start = time.monotonic()
    with output_lock(folder):
        dataset = make_dataset(folder / "data", hours=hours, seed=seeds[0], progress=progress)
        say(f"dataset: {dataset}")
        outcomes = run_arms(CORE, dataset, folder / "arms", scale, seeds=seeds, jobs=jobs, say=say)
        study = Study(
            name="anchor-bias",
            outcomes=outcomes,
            figures=over_seeds(outcomes),
            scale=scale,
            hours=hours,
            seconds=time.monotonic() - start,
        )
        write_study(study, folder)
    return study


def as_text(study: Study) -> str:
    """Returns the comparison as a table that reads well as plain text too."""
    return markdown_table(("arm", *FIGURES), list(_lines(study)))


def _lines(study: Study) -> list[tuple[str, ...]]:
    return [
        (arm, *(shown(figures[name]) for name in FIGURES))
        for arm, figures in study.figures.items()
    ]


def write_study(study: Study, folder: Path) -> None:
    """Writes `study.json`, `anchor_bias.png` and `index.html`.

    Raises:
        OutputError: The folder can't be written.
    """
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
    write_text(folder / "study.json", json.dumps(document, indent=1, default=str) + "\n")
    drawn = bars(
        "Answers to speech, other tasks than transcription",
        list(study.figures),
        {name: [figures[name] for figures in study.figures.values()] for name in _DRAWN},
    )
    if drawn is not None:
        with atomic_path(folder / "anchor_bias.png") as temporary:
            temporary.write_bytes(drawn)
    write_text(folder / "index.html", _page(study, drawn, folder))


def _page(study: Study, drawn: bytes | None, folder: Path) -> str:
    scale = study.scale
    content = [
        (
            f"<p>{study.hours:g} hours of the small spoken world; each training "
            f"{scale.steps:,} steps of {scale.budget:,} positions; {scale.rows} rows of each task "
            f"in each group of the split {html.escape(scale.split)} were asked. Over several "
            "seeds: the mean, in brackets the lowest and the highest.</p>"
        ),
        table(("arm", *FIGURES), _lines(study)),
    ]
    if drawn is not None:
        content.append(picture("figures", drawn))
    content.append("<h2>What the figures are</h2>")
    content.append(table(("figure", "meaning"), list(FIGURES.items())))
    content.append("<h2>Arms</h2>")
    for each in study.outcomes:
        at = each.folder.relative_to(folder)
        pages = sorted(each.folder.glob("evaluation-*/index.html"))
        links = "".join(
            f' <a href="{html.escape(str(page.relative_to(folder)))}">answers</a>'
            for page in pages
        )
        configured = html.escape(each.folder.with_suffix(".yaml").read_text("utf-8"))
        content.append(
            f"<h3>{html.escape(each.arm.name)}, seed {each.seed}</h3>"
            f"<p>{html.escape(each.arm.means)}; loss {each.report['loss']:.3f} at the end; "
            f"{html.escape(str(at))}{links}</p>"
            f"<details><summary>train.yaml</summary><pre>{configured}</pre></details>"
        )
    return _PAGE.format(title="Anchor bias", content="\n".join(content))
