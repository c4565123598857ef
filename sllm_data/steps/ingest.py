"""ingest: each candidate's audio is opened once and stored as it came."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sllm_data.audio.decode import libsndfile_version
from sllm_data.config import RunConfig
from sllm_data.corpora.opening import Opened, open_candidates
from sllm_data.records import Candidate, Rejection, Source, Speaker
from sllm_data.runners import map_parts
from sllm_data.shards import TABLES, PartRecord, part_name, read_part, write_part
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.parts import Records, Step, StepReport, finish_parts, write_rejections
from sllm_data.steps.progress import Progress

Row = Mapping[str, Any]  # Any: values of the audio table

_COLUMNS = TABLES["audio"].names(without=("audio", "speaker", "source", "extra"))
_SPEAKER = tuple(Speaker.__dataclass_fields__)
_SOURCE = tuple(Source.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    number: int
    config: RunConfig
    step: Step


def ingest(dataset: Dataset, progress: Progress) -> StepReport:
    """Opens the audio of all candidates, part by part, side by side.

    Raises:
        RejectedError: Too many clips are unusable.
        OutputError: The disk is full, or a worker died.
    """
    step = Step(
        name="ingest",
        folders=("rejections/ingest", "audio"),
        identity=expected_identity(dataset, "ingest"),
        inputs=("candidates",),
    )
    parts = dataset.finished("candidates").parts
    numbers = range(sum(part.file.startswith("candidates/") for part in parts))

    def make(missing: Sequence[int]) -> Iterator[Records]:
        jobs = [_Job(number=k, config=dataset.config, step=step) for k in missing]
        mapped = map_parts(_ingest_part, jobs, dataset.config.runner, root=dataset.root)
        yield from progress.parts("ingest", mapped, total=len(jobs))

    return finish_parts(
        dataset, step, numbers, make, extra=lambda _: {"libsndfile": libsndfile_version()}
    )


def _ingest_part(job: _Job) -> Records:
    root = job.config.output
    candidates = read_part(root / "candidates" / part_name(job.number))
    rejections: list[Rejection] = []
    records: list[PartRecord] = []
    counts: dict[str, Counter[str]] = {"rows": Counter(), "milliseconds": Counter()}

    def rows() -> Iterator[Row]:
        listed = [_candidate_of(fields) for fields in candidates.to_pylist()]
        config = job.config
        for opened in open_candidates(
            listed, corpora=config.corpora, bounds=config.audio, scratch=root
        ):
            if isinstance(opened, Rejection):
                rejections.append(opened)
                continue
            utterance = opened.utterance
            counts["rows"][utterance.language] += 1
            counts["milliseconds"][utterance.language] += round(1000 * utterance.duration_s)
            yield _row_of(opened)
        # here, after the last row, so that the audio part gets its final name last
        records.append(write_rejections(root, job.step, job.number, rejections))

    audio = write_part(
        root,
        f"audio/{part_name(job.number)}",
        rows(),
        table=TABLES["audio"],
        identity=job.step.identity,
        counts=counts,
    )
    return (*records, audio)


def _candidate_of(fields: dict[str, Any]) -> Candidate:
    return Candidate(
        **fields
        | {
            "speaker": Speaker(**fields["speaker"]),
            "source": Source(**fields["source"]),
            "extra": json.loads(fields["extra"]),
        }
    )


def _row_of(opened: Opened) -> Row:
    utterance = opened.utterance
    row: dict[str, Any] = {column: getattr(utterance, column) for column in _COLUMNS}
    return row | {
        "audio": {"bytes": opened.content, "path": opened.name},
        "speaker": {name: getattr(utterance.speaker, name) for name in _SPEAKER},
        "source": {name: getattr(utterance.source, name) for name in _SOURCE},
        "extra": json.dumps(dict(utterance.extra), sort_keys=True, ensure_ascii=False),
    }
