"""align: when each word of an utterance is said, for steps that cut audio at words.

All stored utterances are aligned whose language somebody knows, also those that the index
left out: a later extension may ask for them. The others are counted, not rejected.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sllm_data.alignment.aligner import Aligned, Aligner, Spoken
from sllm_data.alignment.imports import collect_word_times
from sllm_data.alignment.timing import NotAlignedError
from sllm_data.audio.decode import decode
from sllm_data.config import RunConfig
from sllm_data.errors import RejectedError
from sllm_data.records import Rejection
from sllm_data.runners import map_parts
from sllm_data.shards import TABLES, PartRecord, part_name, read_part, write_part
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.parts import (
    Counts,
    Records,
    Step,
    StepReport,
    finish_parts,
    write_rejections,
)
from sllm_data.steps.progress import Progress

Row = Mapping[str, Any]  # Any: values of the audio and alignments tables

_COLUMNS = ["audio_id", "audio", "sampling_rate", "num_samples", "transcript", "language"]
_BATCH_ROWS = 32  # their bytes are in memory together


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    number: int
    index_parts: tuple[int, ...]
    """Those about this part's audio."""
    config: RunConfig
    imported: Path | None
    step: Step


def align(dataset: Dataset, progress: Progress) -> StepReport:
    """Finds the words of all utterances, part by part, side by side.

    Raises:
        CorpusError: There are no word times where the configuration says.
        ModelError: The CTC model can't be loaded.
        RejectedError: Too few utterances of a split could be aligned.
    """
    config = dataset.config
    step = Step(
        name="align",
        folders=("rejections/align", "alignments"),
        identity=expected_identity(dataset, "align"),
        inputs=("ingest", "index"),
    )
    audio = [p for p in dataset.finished("ingest").parts if p.file.startswith("audio/")]
    index_parts: dict[int, list[int]] = {}
    for number, audio_part in dataset.finished("index").extra.items():
        index_parts.setdefault(int(audio_part), []).append(int(number))

    def make(missing: Sequence[int]) -> Iterator[Records]:
        imported = _imported(dataset) if missing else None
        jobs = [
            _Job(
                number=k,
                index_parts=tuple(sorted(index_parts.get(k, ()))),
                config=config,
                imported=imported,
                step=step,
            )
            for k in missing
        ]
        mapped = map_parts(_align_part, jobs, config.runner, root=dataset.root)
        yield from progress.parts("align", mapped, total=len(jobs))

    def extra(counts: Counts) -> dict[str, str]:
        _check_splits(dataset, counts)
        return {}

    return finish_parts(dataset, step, range(len(audio)), make, extra=extra)


def _imported(dataset: Dataset) -> Path | None:
    """Reads the word times that others made, if the run uses any."""
    config = dataset.config.alignment
    if config.files is None or config.backend not in ("auto", "files"):
        return None
    database = dataset.work / "word-times.sqlite"
    collect_word_times(config.files, database, tier=config.tier)
    return database


def _align_part(job: _Job) -> Records:
    root = job.config.output
    splits = _splits(root, job.index_parts)
    rejections: list[Rejection] = []
    records: list[PartRecord] = []
    counts: dict[str, Counter[str]] = {
        "backends": Counter(),
        "not_eligible": Counter(),
        "eligible_splits": Counter(),
        "aligned_splits": Counter(),
    }

    def rows() -> Iterator[Row]:
        for row in _audio(root / "audio" / part_name(job.number)):
            if not aligner.is_eligible(row["language"]):
                counts["not_eligible"][row["language"]] += 1
                continue
            split = splits.get(row["audio_id"])
            if split:
                counts["eligible_splits"][split] += 1
            try:
                aligned = aligner.align(_spoken(row))
            except NotAlignedError as error:
                rejections.append(
                    Rejection(
                        row_id=row["audio_id"],
                        audio_id=row["audio_id"],
                        step="align",
                        reason=error.reason,
                        detail=error.detail,
                    )
                )
                continue
            counts["backends"][aligned.backend] += 1
            if split:
                counts["aligned_splits"][split] += 1
            yield _row_of(row["audio_id"], aligned)
        records.append(write_rejections(root, job.step, job.number, rejections))

    with closing(Aligner(job.config.alignment, job.imported)) as aligner:
        part = write_part(
            root,
            f"alignments/{part_name(job.number)}",
            rows(),
            table=TABLES["alignments"],
            identity=job.step.identity,
            counts=counts,
        )
    return (*records, part)


def _splits(root: Path, index_parts: Sequence[int]) -> dict[str, str]:
    """Returns the split of each utterance of the part that is used."""
    found: dict[str, str] = {}
    for number in index_parts:
        columns = ["audio_id", "kept", "split"]
        for row in read_part(root / "index" / part_name(number), columns).to_pylist():
            if row["kept"]:
                found[row["audio_id"]] = row["split"]
    return found


def _audio(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=_COLUMNS):
            yield from batch.to_pylist()


def _spoken(row: Row) -> Spoken:
    return Spoken(
        name=row["audio_id"].split("/", 3)[-1],
        transcript=row["transcript"],
        language=row["language"],
        sampling_rate=row["sampling_rate"],
        num_samples=row["num_samples"],
        decoded=partial(decode, row["audio"]["bytes"]),
    )


def _row_of(audio_id: str, aligned: Aligned) -> Row:
    return {
        "audio_id": audio_id,
        "words": [asdict(word) for word in aligned.words],
        "backend": aligned.backend,
        "confidence": aligned.confidence,
    }


def _check_splits(dataset: Dataset, counts: Counts) -> None:
    """Refuses a split that would be a chance selection of what can be cut."""
    least = dataset.config.alignment.min_aligned_fraction
    aligned = counts.get("aligned_splits", {})
    for split, eligible in counts.get("eligible_splits", {}).items():
        if aligned.get(split, 0) < least * eligible:
            raise RejectedError(
                f"{dataset.root}: align found the words of {aligned.get(split, 0):,} of "
                f"{eligible:,} utterances of the split {split}, fewer than "
                f"alignment.min_aligned_fraction = {least:g} asks for; look at "
                "rejections/align, mend transcripts, choose another backend or lower the bound, "
                "then run it again"
            )
