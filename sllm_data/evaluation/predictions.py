"""What models answered, as a file: JSON lines, the text raw, nothing normalised in place.

Every metric is computed from these lines and nothing else, so that a question that nobody
thought of can be asked later. Answers of other systems are scored by writing such a file: of
its fields only five are required.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from sllm_data.errors import ShardError
from sllm_data.evaluation.lines import numbered_json, parsed_line

SIDES = {
    "speech": "the trained model hears the row",
    "text": "the trained model reads the row's text twin",
    "backbone": "the backbone, as it was before training, reads the text twin",
    "cascade": "a transcriber writes down what it hears, and the backbone reads that in place of "
    "the transcript",
}
"""What `asking` asks; a file may hold other sides as well."""

JUDGE_BEST = 5
"""The score of an answer that does all that was asked."""

_MOST = 10**12
"""Of nats or tokens of one answer: sums of many are still exact."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One answer to one row."""

    sample_id: str
    side: str
    """Who answered what: one of SIDES, or a name of your own."""
    task: str
    reference: str
    """The row's response: what the backbone answered to the text."""
    prediction: str
    """As it was decoded, not even stripped."""
    task_params: str = "{}"
    kind: str = "instruct"
    variant: str = ""
    instruction_id: str = ""
    language: str = "und"
    """Of the speech."""
    response_language: str = "und"
    """Of the reference."""
    split: str = "test"
    eval_group: str = "train"
    """train (a seen instruction), held_out_instruction or held_out_task."""
    transcript: str = ""
    """As the corpus has it."""
    transcript_prepared: str = ""
    """As the backbone was shown it."""
    finish_reason: str = "stop"
    """stop, or length where the answer was cut off."""
    reference_finish_reason: str = "stop"
    num_tokens: int | None = None
    """Of the answer."""
    nll: float | None = None
    """Sum over the reference's tokens of -log p, in nats, with the reference forced."""
    nll_tokens: int | None = None
    model: str = ""
    written_down: str = ""
    """What the transcriber of a cascade heard."""
    judge_score: int | None = None
    """What a judge made of the answer, from 1 to 5; None where none was asked or understood."""
    judge: str = ""
    """Who gave that score to this answer, see `benchmark.judging`; empty where nobody says."""

    def __post_init__(self) -> None:
        for name in ("sample_id", "task", "split", "eval_group"):
            if not getattr(self, name):
                raise ValueError(f"{name} must not be empty")
        if not _NAME.fullmatch(self.side):
            raise ValueError(f"side must be a name of a-z, 0-9 and _, got {self.side!r}")
        if (self.nll is None) != (self.nll_tokens is None):
            raise ValueError("nll and nll_tokens must stand together")
        if self.nll is not None and not abs(self.nll) <= _MOST:
            raise ValueError(f"nll must be finite and at most {_MOST:,}, got {self.nll}")
        for name in ("num_tokens", "nll_tokens"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= _MOST:
                raise ValueError(f"{name} must be from 0 to {_MOST:,}, got {str(value)[:20]}")
        if self.judge_score is not None and not 1 <= self.judge_score <= JUDGE_BEST:
            raise ValueError(f"judge_score must be from 1 to 5, got {self.judge_score}")

    @property
    def heard(self) -> str:
        """The transcript as the backbone saw it, else as the corpus has it."""
        return self.transcript_prepared or self.transcript


def read_predictions(path: Path) -> list[Prediction]:
    """Reads predictions and checks that all their metrics can be computed.

    Raises:
        ShardError: The file can't be read; a line is broken, or stands there twice; a side
            lacks a sample that another one has, or has it with another reference; there is
            no line.
    """
    predictions: list[Prediction] = []
    lines: dict[tuple[str, str], int] = {}
    for number, line in numbered_json(path):
        found = parsed_line(_reader(), path, number, line)
        check_once(path, lines, found.side, found.sample_id, number)
        predictions.append(found)
    if not predictions:
        raise ShardError(f"{path}: must hold predictions, holds none")
    _check_sides(path, predictions)
    return predictions


def check_known(
    path: Path, predictions: Sequence[Prediction], known: Collection[str], *, dataset: Path
) -> None:
    """Compares predictions with the ids of a dataset.

    Raises:
        ShardError: One is of a sample that the dataset does not have.
    """
    foreign = sorted({each.sample_id for each in predictions} - set(known))
    if foreign:
        raise ShardError(
            f"{path}: must hold predictions for samples of {dataset}, {len(foreign):,} of them "
            f"are not in it, the first is {foreign[0]!r}; name the dataset they were made from"
        )


def check_once(
    path: Path, lines: dict[tuple[str, str], int], side: str, sample_id: str, number: int
) -> None:
    """Takes down where the answer of a side to a sample stands.

    Raises:
        ShardError: There was one before.
    """
    before = lines.setdefault((side, sample_id), number)
    if before != number:
        raise ShardError(
            f"{path}, line {number}: each sample must stand once for each side, {sample_id} of "
            f"side {side} stands on line {before} already; remove one of them"
        )


@cache
def _reader() -> TypeAdapter[Prediction]:
    return TypeAdapter(Prediction)


def _check_sides(path: Path, predictions: Sequence[Prediction]) -> None:
    sides = Counter(each.side for each in predictions)
    samples: defaultdict[str, list[Prediction]] = defaultdict(list)
    for each in predictions:
        samples[each.sample_id].append(each)
    for sample_id, answers in samples.items():
        missing = sides.keys() - {each.side for each in answers}
        if missing:
            raise ShardError(
                f"{path}: every side must answer the same samples, side {min(missing)} lacks "
                f"{sample_id}, which side {answers[0].side} has; sides have "
                f"{', '.join(f'{side} {rows:,}' for side, rows in sorted(sides.items()))} lines"
            )
        for name in ("task", "task_params", "split", "eval_group", "reference"):
            if len({getattr(each, name) for each in answers}) > 1:
                raise ShardError(
                    f"{path}: sample {sample_id}: its sides must have the same {name}, they "
                    "differ; make all of them from one dataset"
                )
