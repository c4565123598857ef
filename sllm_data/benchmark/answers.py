"""What a system answered to a benchmark: JSON lines of any program, checked against the questions.

    {"sample_id": "5f0c...", "prediction": "ferry, fog"}
    {"sample_id": "5f0c...", "prediction": "ferry, late", "side": "text"}

Two fields are required. What a file of `evaluate` says besides is taken over; what it says of the
row must be what the benchmark says.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from sllm_data.benchmark.frozen import Benchmark, Row
from sllm_data.errors import ShardError
from sllm_data.evaluation.lines import numbered_json, parsed_line
from sllm_data.evaluation.predictions import SIDES, Prediction, check_once

Missing = Literal["refuse", "wrong"]
"""What an answer that is missing is: a reason to stop, or a wrong one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """What is read of a line; further fields may stand there."""

    sample_id: str
    prediction: str
    side: str = "speech"
    model: str = ""
    finish_reason: Literal["stop", "length"] = "stop"
    num_tokens: int | None = None
    nll: float | None = None
    nll_tokens: int | None = None
    written_down: str = ""
    judge_score: int | None = None
    judge: str = ""
    task: str | None = None
    eval_group: str | None = None
    reference: str | None = None


_OF_THE_ROW = {"task": "task", "eval_group": "eval_group", "reference": "response"}


def read_answers(
    path: Path, benchmark: Benchmark, *, missing: Missing = "refuse"
) -> list[Prediction]:
    """Reads a file of answers: every side has one to each question, by sample_id and side.

    Args:
        path: JSON lines.
        benchmark: What was asked.
        missing: What to do where a side lacks an answer.

    Raises:
        ShardError: A line is broken or stands there twice; it answers no question of the
            benchmark, or one that the benchmark asks otherwise; an answer is missing.
    """
    lines: dict[tuple[str, str], int] = {}
    found: list[Prediction] = []
    for number, content in numbered_json(path):
        line = parsed_line(_reader(), path, number, content)
        row = benchmark.rows.get(line.sample_id)
        if row is None:
            raise ShardError(
                f"{path}, line {number}: must answer a question of {benchmark.root}, "
                f"{line.sample_id!r} is none of them; name the benchmark that was asked, or "
                "remove the line"
            )
        check_once(path, lines, line.side, line.sample_id, number)
        _check_row(path, number, line, row)
        found.append(_prediction(path, number, line, row))
    if not found:
        raise ShardError(f"{path}: must hold answers to {benchmark.root}, holds none")
    found += _missing(path, benchmark, found, missing)
    order = {side: place for place, side in enumerate(SIDES)}
    return sorted(
        found, key=lambda each: (each.sample_id, order.get(each.side, len(order)), each.side)
    )


@cache
def _reader() -> TypeAdapter[_Line]:
    return TypeAdapter(_Line)


def _check_row(path: Path, number: int, line: _Line, row: Row) -> None:
    for name, column in _OF_THE_ROW.items():
        said = getattr(line, name)
        if said is not None and said != row[column]:
            raise ShardError(
                f"{path}, line {number}: {name} must be that of the benchmark, {row[column]!r}, "
                f"got {said!r}; score it on the benchmark that was asked, or leave the field out"
            )


def _prediction(path: Path, number: int, line: _Line, row: Row) -> Prediction:
    try:
        return replace(
            _empty(row, line.side),
            prediction=line.prediction,
            model=line.model,
            finish_reason=line.finish_reason,
            num_tokens=line.num_tokens,
            nll=line.nll,
            nll_tokens=line.nll_tokens,
            written_down=line.written_down,
            judge_score=line.judge_score,
            judge=line.judge,
        )
    except ValueError as error:
        raise ShardError(f"{path}, line {number}: {error}; mend or remove the line") from error


def _empty(row: Row, side: str) -> Prediction:
    """No answer to a row."""
    columns = (
        *("sample_id", "task", "task_params", "kind", "variant", "instruction_id", "language"),
        *("response_language", "split", "eval_group", "transcript", "transcript_prepared"),
    )
    return Prediction(
        **{name: row[name] for name in columns},
        side=side,
        reference=row["response"],
        reference_finish_reason=row["finish_reason"],
        prediction="",
    )


def _missing(
    path: Path, benchmark: Benchmark, found: Sequence[Prediction], missing: Missing
) -> list[Prediction]:
    by_side = Counter(each.side for each in found)
    answered = {(each.side, each.sample_id) for each in found}
    lacking = [
        (side, sample_id)
        for side in by_side
        for sample_id in benchmark.rows
        if (side, sample_id) not in answered
    ]
    if lacking and missing == "refuse":
        side, sample_id = lacking[0]
        raise ShardError(
            f"{path}: side {side} must answer all {len(benchmark.rows):,} questions of "
            f"{benchmark.root}, lacks {len(benchmark.rows) - by_side[side]:,}, the first is "
            f"{sample_id}; answer them, or count them as wrong with --missing wrong"
        )
    models = _models(found)
    return [
        replace(_empty(benchmark.rows[sample_id], side), model=models[side])
        for side, sample_id in lacking
    ]


def _models(found: Sequence[Prediction]) -> Mapping[str, str]:
    return {each.side: each.model for each in found}
