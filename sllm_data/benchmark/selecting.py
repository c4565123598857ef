"""Which rows a benchmark asks: so many of each task in each group, none of them known to training.

Left out are rows that mix speech and text or have several turns (any system must be able to
answer), and rows of which a training row has the clip, the speaker, the transcript, or, where
they are said to be held out, the wording or the task.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple

from sllm_data.benchmark.training_rows import (
    Clip,
    Known,
    Row,
    clips_of,
    known_in_training,
    said,
    sample_parts,
    speakers_of,
)
from sllm_data.errors import RejectedError, ShardError
from sllm_data.evaluation.tables import EVAL_GROUPS
from sllm_data.shards import read_part

REASONS = {
    "form": "is not one question about one whole clip",
    "unknown_speaker": "its speaker is not known, so nobody can tell whether training has it",
    "clip": "a training row has the clip",
    "speaker": "a training row has the speaker",
    "transcript": "a training row says the same",
    "wording": "held out, and a training row has the wording",
    "task": "held out, and a training row has the task",
}
"""Why a row of the split is not in the benchmark."""

_COLUMNS = [
    *("sample_id", "split", "eval_group", "kind", "task", "instruction_id", "transcript"),
    *("speakers", "source", "audio_refs", "messages"),
]
Cell = tuple[str, str]
"""Group and task."""

_LISTED = 5
_TRAINED = ("train", "held_out_instruction")
"""Groups whose tasks training has."""
_TURNS = (["user", "assistant"], ["system", "user", "assistant"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """How large a benchmark is, and what may be in it."""

    split: str = "test"
    per_task: int = 50
    """Rows of each task in each group, at most."""
    at_least: int = 10
    """Rows of each task in each group, or `per_task` where that is less; fewer are too few to say
    anything. With 0 a task may be in one group alone."""
    tasks: tuple[str, ...] = ()
    """None: all."""


class Candidate(NamedTuple):
    """A row that could be asked."""

    sample_id: str
    eval_group: str
    task: str
    instruction_id: str
    said: str
    speakers: tuple[tuple[str, ...], ...]
    audio_part: int
    audio_id: str
    num_samples: int
    """Of the clip, that are heard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What is asked."""

    chosen: tuple[Candidate, ...]
    """Sorted by sample_id."""
    left_out: Mapping[str, int]
    """Rows of the split by reason."""

    @property
    def cells(self) -> dict[str, dict[str, int]]:
        """Rows by group and task."""
        found: dict[str, dict[str, int]] = {}
        for group in EVAL_GROUPS:
            tasks = Counter(each.task for each in self.chosen if each.eval_group == group)
            found[group] = dict(sorted(tasks.items()))
        return found


def select(root: Path, against: Sequence[Path], wanted: Wanted) -> Selection:
    """Chooses the rows of a benchmark.

    Args:
        root: The dataset that they are taken from.
        against: Further datasets that are trained on; its own training rows count in any case.
        wanted: How many.

    Raises:
        ShardError: A dataset can't be used, or the split has no row.
        RejectedError: A group would be empty, or a task has too few rows in one.
    """
    left_out: Counter[str] = Counter()
    plain = list(_candidates(root, wanted, left_out))
    clips = _clips(root, plain)
    candidates = list(_whole(plain, clips, left_out))
    if not candidates and not left_out:
        raise ShardError(
            f"{root}: must hold rows of the split {wanted.split}, has none; give it speakers of "
            "its own with `splits`, or choose another with --split"
        )
    unknown = sorted(set(wanted.tasks) - {each.task for each in candidates})
    if unknown:
        there = ", ".join(sorted({each.task for each in candidates})) or "none of them"
        raise ShardError(
            f"{root}: the split {wanted.split} must have questions of the task {unknown[0]!r}, "
            f"has none; it has {there}"
        )
    known = known_in_training([root, *against], _looked_for(candidates, clips))
    reasons = [_reason(each, clips, known) for each in candidates]
    cells: dict[Cell, list[Candidate]] = {cell: [] for cell in _asked(candidates, reasons)}
    for each, reason in zip(candidates, reasons, strict=True):
        if reason is None:
            cells[each.eval_group, each.task].append(each)
        else:
            left_out[reason] += 1
    _check_size(root, cells, left_out, wanted)
    chosen = [one for cell in cells.values() for one in nsmallest(wanted.per_task, cell)]
    return Selection(
        chosen=tuple(sorted(chosen)),
        left_out={reason: left_out[reason] for reason in REASONS if left_out[reason]},
    )


def _asked(candidates: Sequence[Candidate], reasons: Sequence[str | None]) -> set[Cell]:
    """Returns which task must be asked in which group: where the split has it.

    One that training has must be in both of its groups, whose means are compared. One that is
    held out, and that training has after all, is not asked.
    """
    pairs = zip(candidates, reasons, strict=True)
    found = {(each.eval_group, each.task) for each, reason in pairs if reason != "task"}
    known = {task for group, task in found if group in _TRAINED}
    return found | {(group, task) for group in _TRAINED for task in known}


def _candidates(root: Path, wanted: Wanted, left_out: Counter[str]) -> Iterator[Candidate]:
    for path in sample_parts(root):
        for batch in read_part(path, _COLUMNS).to_batches(max_chunksize=5_000):
            for row in batch.to_pylist():
                if row["split"] != wanted.split:
                    continue
                if wanted.tasks and row["task"] not in wanted.tasks:
                    continue
                if not _is_plain(row):
                    left_out["form"] += 1
                elif len(speakers_of(row)) < max(1, len(row["speakers"])):
                    left_out["unknown_speaker"] += 1
                else:
                    yield _candidate(row)


def _is_plain(row: Row) -> bool:
    spans = [span for turn in row["messages"][:-1] for span in turn["content"]]
    heard = [span for span in spans if span["type"] == "audio"]
    return (
        row["kind"] == "instruct"
        and [turn["role"] for turn in row["messages"]] in _TURNS
        and len(row["audio_refs"]) == len(heard) == 1
        and heard[0]["start_sample"] == 0
        and not heard[0]["gain_db"]  # the clip is handed out as the corpus has it
    )


def _whole(
    candidates: Sequence[Candidate], clips: Mapping[str, Clip], left_out: Counter[str]
) -> Iterator[Candidate]:
    for each in candidates:
        if each.num_samples == clips[each.audio_id].num_samples:
            yield each
        else:
            left_out["form"] += 1


def _candidate(row: Row) -> Candidate:
    (ref,) = row["audio_refs"]
    spans = (span for turn in row["messages"][:-1] for span in turn["content"])
    return Candidate(
        sample_id=row["sample_id"],
        eval_group=row["eval_group"],
        task=row["task"],
        instruction_id=row["instruction_id"],
        said=said(row["transcript"]),
        speakers=tuple(speakers_of(row)),
        audio_part=ref["audio_part"],
        audio_id=ref["audio_id"],
        num_samples=next(span["num_samples"] for span in spans if span["type"] == "audio"),
    )


def _clips(root: Path, candidates: Sequence[Candidate]) -> dict[str, Clip]:
    """Returns each candidate's clip, by audio_id."""
    by_part: defaultdict[int, set[str]] = defaultdict(set)
    for each in candidates:
        by_part[each.audio_part].add(each.audio_id)
    found: dict[str, Clip] = {}
    for part, audio_ids in sorted(by_part.items()):
        found |= clips_of(root, part, audio_ids)
    missing = sorted({each.audio_id for each in candidates} - found.keys())
    if missing:
        raise ShardError(
            f"{root}: audio/ must hold the clip {missing[0]}, which a row names, does not; copy "
            "the dataset again, with all parts"
        )
    return found


def _looked_for(candidates: Sequence[Candidate], clips: Mapping[str, Clip]) -> Known:
    return Known(
        clips={clips[each.audio_id].pcm_sha256 for each in candidates},
        speakers={speaker for each in candidates for speaker in each.speakers},
        transcripts={each.said for each in candidates} - {""},
        wordings={each.instruction_id for each in candidates},
        tasks={each.task for each in candidates},
    )


def _reason(row: Candidate, clips: Mapping[str, Clip], known: Known) -> str | None:
    if clips[row.audio_id].pcm_sha256 in known.clips:
        return "clip"
    if known.speakers.intersection(row.speakers):
        return "speaker"
    if row.said in known.transcripts:
        return "transcript"
    if row.eval_group == "held_out_instruction" and row.instruction_id in known.wordings:
        return "wording"
    if row.eval_group == "held_out_task" and row.task in known.tasks:
        return "task"
    return None


def _check_size(
    root: Path,
    cells: Mapping[Cell, Sequence[Candidate]],
    left_out: Mapping[str, int],
    wanted: Wanted,
) -> None:
    why = "".join(
        f"; {number:,} rows are left out because: {REASONS[reason]}"
        for reason, number in left_out.items()
    )
    for group, name in EVAL_GROUPS.items():
        if not any(cell for (of, _), cell in cells.items() if of == group):
            raise RejectedError(
                f"{root}: the group {name} must have rows in the split {wanted.split}, has none"
                f"{why}; take a recipe with held-out wordings and tasks, and more speech for "
                "the split"
            )
    at_least = min(wanted.at_least, wanted.per_task)  # more are not asked
    short = [
        f"{task} has {len(cell)} in {EVAL_GROUPS[group]}"
        for (group, task), cell in sorted(cells.items())
        if len(cell) < at_least
    ]
    if short:
        more = f"; and {len(short) - _LISTED} more" if len(short) > _LISTED else ""
        shown = "; ".join(short[:_LISTED]) + more
        raise RejectedError(
            f"{root}: each task must have {at_least} rows in each of its groups, {shown}"
            f"{why}; take more speech for the split {wanted.split}, choose tasks with --tasks, "
            "or be content with less: --at-least"
        )
