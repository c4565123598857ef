"""The clips of audio/: do the bytes decode, and to what the row says.

A clip is decoded as ingest did it, by the only decoder there is. Memory is bounded by a few
clips: bytes are read in small batches, whatever the size of a row group.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sllm_data.audio.decode import (
    DecodedClip,
    OverlongAudioError,
    UndecodableAudioError,
    decode,
    libsndfile_version,
)
from sllm_data.files import sha256_of_bytes
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.pages import batches, noting_damage
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part, Subject, is_sampled

RULES = (
    Rule(
        name="audio_decodes",
        level=2,
        meaning="every clip decodes to its end, by the decoder that the samples are counted with",
    ),
    Rule(name="audio_sha256", level=2, meaning="`sha256` is that of the clip's bytes"),
    Rule(
        name="audio_pcm_sha256",
        level=2,
        meaning="`pcm_sha256` is that of the decoded samples",
    ),
    Rule(
        name="audio_facts",
        level=2,
        meaning="codec, sampling rate, channels, number of samples and duration are those of "
        "the decoded clip",
    ),
)

_Row = dict[str, Any]  # Any: values of the audio table

_FACTS = ("codec", "sampling_rate", "num_channels", "num_samples")
_COLUMNS = ("audio_id", "audio", "sha256", "pcm_sha256", *_FACTS, "duration_s")
_BATCH_ROWS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipsJob:
    """One part of audio/."""

    root: Path
    part: Part
    share: float
    keep: int
    decoded_with: str
    """Version of libsndfile that ingest had; empty where nobody noted it."""


def clip_jobs(subject: Subject) -> Iterator[ClipsJob]:
    """Yields the jobs of a dataset."""
    ingest = subject.manifests.get("ingest")
    for part in subject.parts_of("audio"):
        yield ClipsJob(
            root=subject.root,
            part=part,
            share=subject.sample,
            keep=subject.keep,
            decoded_with=ingest.extra.get("libsndfile", "") if ingest else "",
        )


def check_clips(job: ClipsJob) -> Tally:
    """Decodes the clips of one part."""
    tally = Tally(job.keep)
    num_rows = num_looked = 0
    with noting_damage(job.part, tally, "audio"):
        for batch in batches(job.root / job.part.file, _COLUMNS, _BATCH_ROWS):
            for position, audio_id in enumerate(batch.column("audio_id").to_pylist()):
                if is_sampled(str(audio_id), job.share):
                    row = {name: batch.column(name)[position].as_py() for name in _COLUMNS}
                    tally.add_all(_check_clip(job, row, name=audio_id or f"row {num_rows}"))
                    num_looked += 1
                num_rows += 1
    tally.look(2, "audio", rows=num_looked, of_rows=job.part.rows)
    return tally


def _check_clip(job: ClipsJob, row: _Row, *, name: str) -> Iterator[Finding]:
    def wrong(rule: str, column: str, message: str) -> Finding:
        value = None if column == "audio" else row[column]
        return Finding(
            rule=rule,
            part=job.part.file,
            row=name,
            column=column,
            value=shown(value),
            message=message,
        )

    content = (row["audio"] or {}).get("bytes")
    if not content:
        yield wrong("audio_decodes", "audio", "must hold the bytes of its file, holds none")
        return
    digest = sha256_of_bytes(content)
    if row["sha256"] != digest:
        yield wrong("audio_sha256", "sha256", f"the bytes have {digest}")
    try:
        clip = decode(content)
    except (UndecodableAudioError, OverlongAudioError) as error:
        yield wrong("audio_decodes", "audio", str(error))
        return
    digest = _pcm_sha256(clip)
    if row["pcm_sha256"] != digest:
        note = _decoder_note(job.decoded_with)
        yield wrong("audio_pcm_sha256", "pcm_sha256", f"the samples have {digest}{note}")
    num_samples, num_channels = clip.samples.shape
    facts = (clip.codec, clip.sampling_rate, num_channels, num_samples)
    for column, fact in zip(_FACTS, facts, strict=True):
        if row[column] != fact:
            yield wrong("audio_facts", column, f"the decoded clip has {fact}")
    duration_s = num_samples / clip.sampling_rate
    claimed_s = row["duration_s"]
    # half a sample: who divides or rounds in another way is not wrong
    if claimed_s is None or not abs(claimed_s - duration_s) <= 0.5 / clip.sampling_rate:
        yield wrong("audio_facts", "duration_s", f"the decoded clip lasts {duration_s} s")


def _pcm_sha256(clip: DecodedClip) -> str:
    return hashlib.sha256(clip.samples.astype("<i2", copy=False).data).hexdigest()


def _decoder_note(then: str) -> str:
    """Says where another version of the decoder may be why lossy audio decodes differently."""
    now = libsndfile_version()
    if then in ("", now):
        return ""
    return f"; the row was made with libsndfile {then}, this is {now}"
