"""Level 2: all bytes. What a part says of its clips, ids and answers is worked out again.

Every file is hashed, whole. `clips` decodes the audio, `agreement` holds tables that say the
same thing against each other, `conversations` and `formulas` work out what follows from other
columns. `--sample` looks at a share of the clips and rows, the same ones each time; the
digests are always full.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sllm_data.files import sha256_of_file
from sllm_data.shards import PartRecord
from sllm_data.validation import (
    agreement,
    clips,
    comparisons,
    conversations,
    formulas,
    pages,
)
from sllm_data.validation.findings import Finding, Tally
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Subject, over_parts

RULES = (
    Rule(
        name="part_sha256",
        level=2,
        meaning="the bytes of every part are those that were committed: the SHA-256 of the file "
        "is the manifest's",
        foreign="off",
    ),
    *pages.RULES,
    *clips.RULES,
    *comparisons.RULES,
    *conversations.RULES,
    *formulas.RULES,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DigestJob:
    """One file that a manifest names."""

    root: Path
    record: PartRecord
    keep: int


Job = (
    DigestJob
    | clips.ClipsJob
    | agreement.PairJob
    | conversations.SamplesJob
    | formulas.RequestsJob
)


def check(subject: Subject, tally: Tally) -> None:
    """Checks the level."""
    jobs: list[Job] = [
        *_digest_jobs(subject),
        *clips.clip_jobs(subject),
        *agreement.pair_jobs(subject),
        *conversations.sample_jobs(subject),
        *formulas.request_jobs(subject),
    ]
    over_parts(subject, tally, "contents", _check, jobs)


def _check(job: Job) -> Tally:
    match job:
        case DigestJob():
            return _check_digest(job)
        case clips.ClipsJob():
            return clips.check_clips(job)
        case agreement.PairJob():
            return agreement.compare(job)
        case conversations.SamplesJob():
            return conversations.check_samples(job)
        case formulas.RequestsJob():
            return formulas.check_requests(job)


def _digest_jobs(subject: Subject) -> Iterator[DigestJob]:
    for manifest in subject.manifests.values():
        for record in manifest.parts:
            if (subject.root / record.file).is_file():  # level 0 names those that are missing
                yield DigestJob(root=subject.root, record=record, keep=subject.keep)


def _check_digest(job: DigestJob) -> Tally:
    tally = Tally(job.keep)
    found = sha256_of_file(job.root / job.record.file)
    if found != job.record.sha256:
        tally.add(
            Finding(
                rule="part_sha256",
                part=job.record.file,
                value=found,
                message=f"the file must have the SHA-256 of its manifest, {job.record.sha256}",
            )
        )
    tally.look(2, "digests", rows=job.record.rows)
    return tally
