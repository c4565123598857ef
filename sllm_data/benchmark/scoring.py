"""Scores of systems by group: on speech, on text, and the ratio of the two.

A file of answers holds one system or several: `speech` and `text` are one that hears and reads,
`cascade` and `backbone` another, whose text side is the backbone; a side with a name of its own
is a system by itself.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from sllm_data.benchmark.answers import Missing, read_answers
from sllm_data.benchmark.frozen import Benchmark
from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.page import Evaluated
from sllm_data.evaluation.predictions import SIDES, Prediction
from sllm_data.evaluation.report import MISSING, shown
from sllm_data.evaluation.tables import EVAL_GROUPS, Report, tabulate
from sllm_data.evaluation.writing import write_evaluation
from sllm_data.files import write_text
from sllm_data.reporting.text import markdown_table

_WRONG_LANGUAGE = "wrong_language"


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """Who is scored: a side that hears, one that reads, or both."""

    name: str
    hears: str | None
    reads: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A system in a group."""

    system: str
    eval_group: str
    tasks: int
    rows: int
    speech: Estimate | None
    """Mean over the tasks of their main metric, each in [0, 1]; None where nobody heard."""
    text: Estimate | None
    ratio: Estimate | None
    following: Estimate
    """Share of the answers that break no rule that can be checked; on speech where there is."""
    anchor: Estimate
    """Share of the answers that are the transcript where something else was asked."""
    empty: int
    wrong_language: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A file of answers with its scores."""

    file: Path
    predictions: Sequence[Prediction]
    report: Report
    lines: tuple[Line, ...]


def score(
    path: Path,
    benchmark: Benchmark,
    *,
    missing: Missing = "refuse",
    name: str | None = None,
) -> Scored:
    """Scores a file of answers.

    Args:
        path: JSON lines, see `answers`.
        benchmark: What was asked.
        missing: Whether a missing answer is refused or wrong.
        name: Of the system, where the file does not say it.

    Raises:
        ShardError: The file does not fit the benchmark.
    """
    return scored(path, read_answers(path, benchmark, missing=missing), benchmark, name=name)


def scored(
    path: Path, predictions: Sequence[Prediction], benchmark: Benchmark, *, name: str | None = None
) -> Scored:
    """Scores answers that were read from a file."""
    scoring = benchmark.description.scoring
    report = tabulate(predictions, scoring)
    lines = [
        line
        for system in _systems(report, name or path.stem)
        for line in _lines(system, report, predictions)
    ]
    return Scored(file=path, predictions=predictions, report=report, lines=tuple(lines))


def _systems(report: Report, fallback: str) -> Iterator[System]:
    sides = set(report.models)
    reads = "text" if "text" in sides else None
    if "speech" in sides:
        yield System(name=report.models["speech"] or fallback, hears="speech", reads=reads)
    elif reads:
        yield System(name=report.models[reads] or fallback, hears=None, reads=reads)
    if "cascade" in sides:
        beside = "backbone" if "backbone" in sides else None
        yield System(name=report.models["cascade"] or "cascade", hears="cascade", reads=beside)
    if "backbone" in sides:
        yield System(name=report.models["backbone"] or "backbone", hears=None, reads="backbone")
    for side in sorted(sides - SIDES.keys()):
        yield System(name=report.models[side] or side, hears=side, reads=None)


def _lines(system: System, report: Report, predictions: Sequence[Prediction]) -> Iterator[Line]:
    main = system.hears or system.reads
    for group in EVAL_GROUPS:
        of_side = {
            each.side: each for each in report.groups if each.eval_group == group and each.rows
        }
        ratios = [
            pair.score_ratio
            for pair in report.pairs
            if pair.eval_group == group
            and pair.task is None
            and (pair.side, pair.other) == (system.hears, system.reads)
        ]
        if main not in of_side:
            continue
        own = [each for each in predictions if (each.side, each.eval_group) == (main, group)]
        yield Line(
            system=system.name,
            eval_group=group,
            tasks=of_side[main].tasks,
            rows=of_side[main].rows,
            speech=None if system.hears is None else of_side[system.hears].score,
            text=None if system.reads is None else of_side[system.reads].score,
            ratio=ratios[0] if ratios else None,
            following=of_side[main].following,
            anchor=of_side[main].anchor,
            empty=sum(not each.prediction.strip() for each in own),
            wrong_language=sum(
                cell.broken_rules.get(_WRONG_LANGUAGE, 0)
                for cell in report.cells
                if (cell.side, cell.eval_group, cell.task_params) == (main, group, None)
            ),
        )


def as_table(found: Sequence[Scored]) -> str:
    """Returns the scores as a Markdown table, which reads well as plain text too."""
    header = ("system", "group", "rows", "on speech", "on text", "speech / text", "following")
    notes = ("anchor", "empty", "other language")
    return markdown_table(
        (*header, *notes),
        [
            (
                line.system,
                EVAL_GROUPS[line.eval_group],
                f"{line.rows:,}",
                shown(line.speech),
                shown(line.text),
                shown(line.ratio),
                shown(line.following),
                shown(line.anchor),
                f"{line.empty:,}" if line.empty else MISSING,
                f"{line.wrong_language:,}" if line.wrong_language else MISSING,
            )
            for each in found
            for line in each.lines
        ],
    )


def as_json(found: Sequence[Scored], benchmark: Benchmark) -> dict[str, Any]:  # Any: JSON
    """Returns the scores for a script."""
    return {
        "benchmark": benchmark.description.name,
        "benchmark_sha256": benchmark.sha256,
        "source": benchmark.description.source.model_dump(),
        "systems": [
            {"file": each.file.name, "scores": [asdict(line) for line in each.lines]}
            for each in found
        ],
    }


def write_scores(
    found: Sequence[Scored], benchmark: Benchmark, output: Path, *, num_examples: int
) -> list[Path]:
    """Writes `scores.json`, and for each file of answers a folder with its figures and page.

    Returns:
        The files.

    Raises:
        OutputError: The folder can't be written.
    """
    files = [output / "scores.json"]
    write_text(files[0], json.dumps(as_json(found, benchmark), indent=1, allow_nan=False) + "\n")
    for folder, each in zip(names_of([each.file for each in found]), found, strict=True):
        evaluated = Evaluated(
            predictions=each.predictions,
            config=benchmark.description.scoring,
            report=each.report,
            facts={
                "benchmark": benchmark.description.name,
                "SHA-256 of benchmark.json": benchmark.sha256,
                "answers": each.file.name,
            },
            dataset=benchmark.root,
        )
        files += write_evaluation(evaluated, output / folder, num_examples=num_examples)
    return files


def names_of(files: Sequence[Path]) -> list[str]:
    """Names what is written of each file: its stem, with a number where that is taken.

    >>> names_of([Path("x/a.jsonl"), Path("a-2.jsonl"), Path("y/a.jsonl")])
    ['a', 'a-2', 'a-3']
    """
    names: list[str] = []
    for file in files:
        numbered = (f"{file.stem}-{number}" for number in count(2))
        names.append(next(name for name in chain([file.stem], numbered) if name not in names))
    return names
