"""What training rows know of a candidate for the benchmark, so that none of it gets in.

Only what candidates have is kept in memory: training sets are read part by part and may be of
any size.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from sllm_data.errors import ShardError
from sllm_data.shards import part_name, read_part
from sllm_data.words import words

Row = dict[str, Any]  # Any: values of the samples table
Key = tuple[str, ...]

_COLUMNS = [
    *("split", "eval_group", "task", "instruction_id", "transcript", "speakers", "source"),
    "audio_refs",
]


def said(transcript: str) -> str:
    """Returns what is said, casing and punctuation aside.

    >>> said("The ferry, LATE.")
    'the ferry late'
    """
    return " ".join(words(transcript))


def speakers_of(row: Row) -> list[Key]:
    """Returns corpus and id of each speaker of a row; those that are not known are left out."""
    corpus = row["source"]["corpus"]
    return [(corpus, each["id"]) for each in row["speakers"] if each["id"] is not None]


@dataclass(kw_only=True, slots=True)
class Known:
    """Of what was looked for, what stands in training rows."""

    clips: set[str] = field(default_factory=set)
    """SHA-256 of the decoded samples."""
    speakers: set[Key] = field(default_factory=set)
    transcripts: set[str] = field(default_factory=set)
    wordings: set[str] = field(default_factory=set)
    """Ids of instructions."""
    tasks: set[str] = field(default_factory=set)


def known_in_training(roots: Iterable[Path], wanted: Known) -> Known:
    """Returns what of `wanted` the training rows of some datasets have.

    Args:
        roots: Datasets; rows count whose split and eval group both are `train`.
        wanted: What candidates have.

    Raises:
        ShardError: A dataset has no samples, or a part is damaged.
    """
    known = Known()
    for root in roots:
        clips: dict[int, set[str]] = {}
        for row in _training_rows(root):
            known.speakers.update(wanted.speakers.intersection(speakers_of(row)))
            known.transcripts |= wanted.transcripts & {said(row["transcript"])}
            known.wordings |= wanted.wordings & {row["instruction_id"]}
            known.tasks |= wanted.tasks & {row["task"]}
            for ref in row["audio_refs"]:
                clips.setdefault(ref["audio_part"], set()).add(ref["audio_id"])
        for part, ids in clips.items():
            heard = {clip.pcm_sha256 for clip in clips_of(root, part, ids).values()}
            known.clips |= wanted.clips & heard
    return known


class Clip(NamedTuple):
    """What a part of `audio/` says of a clip."""

    pcm_sha256: str
    """Of the decoded samples."""
    num_samples: int


def clips_of(root: Path, part: int, audio_ids: Iterable[str]) -> dict[str, Clip]:
    """Returns some clips of a part, by audio_id.

    Raises:
        ShardError: The part is missing or damaged.
    """
    names = ["audio_id", *Clip._fields]
    columns = read_part(root / "audio" / part_name(part), names)
    wanted = set(audio_ids)
    rows = zip(*(columns[name].to_pylist() for name in names), strict=True)
    return {audio_id: Clip(*facts) for audio_id, *facts in rows if audio_id in wanted}


def sample_parts(root: Path) -> list[Path]:
    """Returns the parts of `samples/`, in order.

    Raises:
        ShardError: There is none.
    """
    parts = sorted((root / "samples").glob("part-*.parquet"))
    if not parts:
        raise ShardError(
            f"{root}: must be a dataset with samples/part-*.parquet, there is none; check the "
            "path, or make it with `sllm-data run`"
        )
    return parts


def _training_rows(root: Path) -> Iterator[Row]:
    for path in sample_parts(root):
        table = read_part(path, _COLUMNS)
        chosen = pc.and_(pc.equal(table["split"], "train"), pc.equal(table["eval_group"], "train"))
        for batch in table.filter(chosen).to_batches(max_chunksize=5_000):
            yield from batch.to_pylist()
