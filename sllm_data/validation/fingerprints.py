"""Hashes of what samples say, so that questions over all of them need no text in memory.

One slim Parquet file for each part of samples/, in the scratch folder: transcripts and
responses are folded as the filters fold them (`words`), so that casing and
punctuation make no difference, and only their hashes are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.seeding import hash128
from sllm_data.shards.database import parquet
from sllm_data.validation.findings import Tally, shown
from sllm_data.validation.pages import batches, noting_damage
from sllm_data.validation.subject import Part, Subject, over_parts
from sllm_data.words import words

FOLDER = "fingerprints"

_COLUMNS = (
    "sample_id",
    "split",
    "task",
    "task_params",
    "variant",
    "instruction_id",
    "audio_refs",
    "transcript",
    "response",
)
_BATCH_ROWS = 5_000
_HASH = pa.binary(16)
_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("place", pa.int64()),
        ("row", pa.string()),
        ("split", pa.string()),
        ("task", pa.string()),
        ("instruction_id", pa.string()),
        ("transcript", _HASH),
        ("said", pa.string()),
        ("response", _HASH),
        ("cell", _HASH),
    ]
)
"""`place` is the row's number in its part, `said` the transcript as it is shown; `cell` says
which clips are asked what in which words. A hash is null where no word is left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    root: Path
    part: Part
    target: Path
    keep: int


def write_fingerprints(subject: Subject, tally: Tally) -> str:
    """Writes the fingerprints of all samples; returns SQL that reads them."""
    folder = subject.scratch / FOLDER
    folder.mkdir()
    jobs = [
        _Job(
            root=subject.root,
            part=part,
            target=folder / f"{place:05d}.parquet",
            keep=subject.keep,
        )
        for place, part in enumerate(subject.parts_of("samples"))
    ]
    over_parts(subject, tally, "fingerprints", _write, jobs)
    return parquet(job.target for job in jobs)


def _write(job: _Job) -> Tally:
    tally = Tally(job.keep)
    with pq.ParquetWriter(job.target, _SCHEMA) as sink, noting_damage(job.part, tally):
        for batch in _fingerprints(job):
            sink.write_batch(batch)
    tally.look(3, "samples", rows=job.part.rows)
    return tally


def _fingerprints(job: _Job) -> Iterator[pa.RecordBatch]:
    place = 0
    for batch in batches(job.root / job.part.file, _COLUMNS, _BATCH_ROWS):
        rows = batch.to_pylist()
        columns = {
            "file": [job.part.file] * len(rows),
            "place": range(place, place + len(rows)),
            "row": [row["sample_id"] for row in rows],
            "split": [row["split"] for row in rows],
            "task": [row["task"] for row in rows],
            "instruction_id": [row["instruction_id"] for row in rows],
            "transcript": [_hash_of_words(row["transcript"]) for row in rows],
            "said": [shown(row["transcript"]) for row in rows],
            "response": [_hash_of_words(row["response"]) for row in rows],
            "cell": [bytes.fromhex(_cell(row)) for row in rows],
        }
        arrays = [pa.array(columns[field.name], type=field.type) for field in _SCHEMA]
        yield pa.record_batch(arrays, schema=_SCHEMA)
        place += len(rows)


def _hash_of_words(text: str | None) -> bytes | None:
    folded = words(text or "")
    if not folded:
        return None
    return blake2b(" ".join(folded).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _cell(row: dict[str, object]) -> str:
    asked = ("task", "task_params", "variant", "instruction_id", "audio_refs")
    return hash128(*(str(row[name]) for name in asked))
