"""Samples to look at and listen to: some of every task, with their clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.errors import ShardError
from sllm_data.reporting.report.tables import Tables
from sllm_data.shards import part_name

Row = Mapping[str, Any]  # Any: values of the samples and audio tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One sample with the clips that it names."""

    row: Row
    clips: Sequence[Row]
    """Of `audio/`: bytes, codec, sampling_rate, num_samples, duration_s."""


def choose_examples(tables: Tables, count: int) -> list[Example]:
    """Returns samples of all tasks in turn, of each those with the lowest ids.

    An id is a hash of what is asked and not of the answer: of two runs of one configuration the
    same cells are chosen, and can be read side by side.

    Raises:
        ShardError: A part is damaged, or a clip is missing.
    """
    by_task = [
        found
        for _, found in tables.rows(
            "SELECT task, arg_min({'id': sample_id, 'file': filename}, sample_id, $1) "
            "FROM samples GROUP BY task ORDER BY task",
            [max(count, 1)],
        )
    ]
    in_turn = [each for each in chain(*zip_longest(*by_task)) if each is not None][:count]
    rows: dict[str, Row] = {}
    for file in sorted({each["file"] for each in in_turn}):
        ids = [each["id"] for each in in_turn if each["file"] == file]
        rows |= {row["sample_id"]: row for row in _rows(Path(file), "sample_id", ids, None)}
    chosen = sorted(
        (rows[each["id"]] for each in in_turn), key=lambda r: (r["task"], r["sample_id"])
    )
    clips = _clips(tables.root, chosen)
    found = [
        Example(row=row, clips=[clips[ref["audio_id"]] for ref in row["audio_refs"]])
        for row in chosen
    ]
    for each in found:
        _check_spans(tables.root, each)
    return found


def _check_spans(root: Path, example: Example) -> None:
    for span in (span for turn in example.row["messages"] for span in turn["content"]):
        if span["type"] != "audio":
            continue
        index, clips = span["audio_index"], example.clips
        is_there = index is not None and 0 <= index < len(clips)
        if not is_there or not clips[index]["sampling_rate"] or span["start_sample"] is None:
            raise ShardError(
                f"{root}: sample {example.row['sample_id']} must hear a stretch of one of its "
                f"{len(clips)} clips at a rate above 0, does not; run `sllm-data validate "
                "--level 2`"
            )


_CLIP = ["audio_id", "audio", "codec", "sampling_rate", "num_samples", "duration_s"]


def _clips(root: Path, rows: Sequence[Row]) -> dict[str, Row]:
    wanted: dict[int, set[str]] = {}
    for ref in chain.from_iterable(row["audio_refs"] for row in rows):
        wanted.setdefault(ref["audio_part"], set()).add(ref["audio_id"])
    found: dict[str, Row] = {}
    for number, ids in sorted(wanted.items()):
        path = root / "audio" / part_name(number)
        clips = {row["audio_id"]: row for row in _rows(path, "audio_id", sorted(ids), _CLIP)}
        missing = ids - clips.keys()
        if missing:
            raise ShardError(f"{path}: must hold the clip {min(missing)}, does not")
        found |= clips
    return found


def _rows(path: Path, key: str, ids: Sequence[str], columns: list[str] | None) -> list[Row]:
    try:  # a part of audio/ may hold hundreds of megabytes: only these rows are kept
        table = pq.read_table(
            path,
            columns=columns,
            filters=[(key, "in", list(ids))],
            partitioning=None,
            page_checksum_verification=True,
        )
        rows: list[Row] = table.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise ShardError(f"{path}: can't be read: {problem}") from error
    return rows
