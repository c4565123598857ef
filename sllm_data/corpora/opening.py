"""A candidate in, an utterance and its bytes out: the one time its audio is decoded here.

Each clip is read, hashed and decoded once to prove that it decodes and to learn its true
length; the samples are hashed and thrown away. Where the bytes come from is the business of
each kind of corpus. Duplicates are not looked for: that takes all utterances and is the
global pass's work.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sllm_data.audio.decode import DecodedClip, OverlongAudioError, UndecodableAudioError, decode
from sllm_data.corpora.audio_file import AudioFile, Unfit
from sllm_data.corpora.config import (
    Bounds,
    CorpusConfig,
    HuggingFaceConfig,
    LibriSpeechConfig,
    ManifestConfig,
)
from sllm_data.corpora.cutting import cut_file, cut_part
from sllm_data.corpora.librispeech import librispeech_root
from sllm_data.corpora.manifest import manifest_root
from sllm_data.corpora.sources import read_file
from sllm_data.files import sha256_of_bytes
from sllm_data.records import Candidate, Reason, Rejection, Utterance

_STEP = "ingest"
_FULL_SCALE = 32768
_LISTED_TOLERANCE_S = 0.5  # durations in manifests are rounded, or guessed from a bit rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An utterance with what is stored of it."""

    utterance: Utterance
    content: bytes
    """The bytes to store: those of its file, or a segment of it as FLAC."""
    name: str
    """File name of these bytes, without folders."""


def corpus_root(config: CorpusConfig) -> Path:
    """Returns the folder that `Candidate.audio_path` is relative to."""
    if isinstance(config, LibriSpeechConfig):
        return librispeech_root(config.path)
    if isinstance(config, ManifestConfig):
        return manifest_root(config)
    return config.path.expanduser()


def open_candidate(
    candidate: Candidate, *, config: CorpusConfig, bounds: Bounds
) -> Opened | Rejection:
    """Reads, hashes and decodes the audio of a candidate.

    Args:
        candidate: What a corpus listed.
        config: Its corpus entry.
        bounds: What a usable clip is; `Bounds.for_entry` gives those of the entry.

    Returns:
        The utterance with the bytes to store, or why there is none.

    Raises:
        CorpusError: The storage failed while reading; the file may be good.
    """
    if not _is_spoken(candidate):
        return _unspoken(candidate)
    return _judged(candidate, _audio_of(candidate, config, bounds), config, bounds)


def open_candidates(
    candidates: Sequence[Candidate],
    *,
    corpora: Sequence[CorpusConfig],
    bounds: Bounds,
    scratch: Path,
) -> Iterator[Opened | Rejection]:
    """Opens the candidates of a part, in their order.

    Segments of long files are cut before, so that each file is gone through once, whatever
    their order.

    Args:
        candidates: What the corpora listed.
        corpora: The entries of the run; `Candidate.entry` is the position in them.
        bounds: Those of the run.
        scratch: A folder on a disk with room for the audio of one part.

    Raises:
        CorpusError: The storage failed while reading; the file may be good.
        OutputError: There is no room for audio that waits for its turn.
    """
    _look_ahead(candidates, corpora, scratch)
    bounds_of = [bounds.for_entry(config) for config in corpora]
    places = [(corpus_root(c), own) for c, own in zip(corpora, bounds_of, strict=True)]
    segments = (c for c in candidates if c.start_s is not None and _is_spoken(c))
    with cut_part(segments, places, scratch=scratch) as cuts:
        for candidate in candidates:
            config, own = corpora[candidate.entry], bounds_of[candidate.entry]
            if not _is_spoken(candidate):
                yield _unspoken(candidate)
            elif candidate.start_s is not None:
                yield _judged(candidate, cuts.get(candidate.audio_id), config, own)
            else:
                yield _judged(candidate, _audio_of(candidate, config, own), config, own)


def _look_ahead(
    candidates: Sequence[Candidate], corpora: Sequence[CorpusConfig], scratch: Path
) -> None:
    """Says which candidates come next, for corpora that are read forwards."""
    for entry, config in enumerate(corpora):
        if isinstance(config, HuggingFaceConfig):
            from sllm_data.corpora.huggingface_audio import (  # noqa: PLC0415 - as below
                expect_rows,
            )

            listed = [c.audio_path for c in candidates if c.entry == entry]
            expect_rows(config, listed, scratch=scratch)


def _audio_of(candidate: Candidate, config: CorpusConfig, bounds: Bounds) -> AudioFile | Unfit:
    """Reads the bytes of a candidate the way its kind of corpus keeps them."""
    if isinstance(config, HuggingFaceConfig):
        from sllm_data.corpora.huggingface_audio import (  # noqa: PLC0415 - datasets takes seconds
            read_row_audio,
        )

        return read_row_audio(candidate, config, max_bytes=bounds.max_file_bytes)
    root = corpus_root(config)
    if candidate.start_s is not None:
        return next(cut_file(root, [candidate], bounds))
    return read_file(root, candidate.audio_path, max_bytes=bounds.max_file_bytes)


def _is_spoken(candidate: Candidate) -> bool:
    return any(character.isalnum() for character in candidate.transcript)


def _unspoken(candidate: Candidate) -> Rejection:
    detail = f"the transcript must hold a letter or digit, got {candidate.transcript[:40]!r}"
    return _rejected(candidate, (Reason.EMPTY_TRANSCRIPT, detail))


def _judged(
    candidate: Candidate, audio: AudioFile | Unfit, config: CorpusConfig, bounds: Bounds
) -> Opened | Rejection:
    if not isinstance(audio, AudioFile):
        return _rejected(candidate, audio)
    try:
        clip = decode(audio.content, max_duration_s=bounds.max_duration_s)
    except OverlongAudioError as error:
        return _rejected(candidate, (Reason.TOO_LONG, str(error)))
    except UndecodableAudioError as error:
        return _rejected(candidate, (Reason.UNREADABLE_AUDIO, str(error)))
    unfit = _why_unfit(clip, bounds) or _why_not_as_listed(clip, candidate, config)
    if unfit is not None:
        return _rejected(candidate, unfit)
    utterance = _utterance(candidate, audio, clip)
    return Opened(utterance=utterance, content=audio.content, name=audio.name)


def _why_unfit(clip: DecodedClip, bounds: Bounds) -> Unfit | None:
    duration_s = len(clip.samples) / clip.sampling_rate
    if duration_s < bounds.min_duration_s:
        detail = f"must last at least {bounds.min_duration_s:g} s, got {duration_s:.3f} s"
        return Reason.TOO_SHORT, detail
    peak_dbfs = _peak_dbfs(clip.samples)
    if peak_dbfs <= bounds.silence_peak_dbfs:
        detail = f"must be louder than {bounds.silence_peak_dbfs:g} dBFS, got {peak_dbfs:.1f} dBFS"
        return Reason.SILENT, detail
    return None


def _why_not_as_listed(
    clip: DecodedClip, candidate: Candidate, config: CorpusConfig
) -> Unfit | None:
    """Finds rows of a manifest that mean a piece of a file, or another file, without saying so."""
    listed_s, duration_s = candidate.duration_s, len(clip.samples) / clip.sampling_rate
    if not isinstance(config, ManifestConfig) or listed_s is None:
        return None
    if abs(listed_s - duration_s) <= _LISTED_TOLERANCE_S:
        return None
    detail = f"must last {listed_s:g} s as the manifest says, the file lasts {duration_s:.3f} s"
    return Reason.WRONG_DURATION, f"{detail}; a piece of it needs an offset, 0 for its beginning"


def _peak_dbfs(samples: npt.NDArray[np.int16]) -> float:
    peak = max(int(samples.max()), -int(samples.min()))
    return 20 * float(np.log10(peak / _FULL_SCALE)) if peak else -float("inf")


def _utterance(candidate: Candidate, audio: AudioFile, clip: DecodedClip) -> Utterance:
    samples = clip.samples.astype("<i2", copy=False)
    return Utterance(
        audio_id=candidate.audio_id,
        entry=candidate.entry,
        sha256=sha256_of_bytes(audio.content),
        pcm_sha256=hashlib.sha256(samples.data).hexdigest(),
        codec=clip.codec,
        sampling_rate=clip.sampling_rate,
        num_channels=samples.shape[1],
        num_samples=samples.shape[0],
        transcript=candidate.transcript,
        language=candidate.language,
        speaker=candidate.speaker,
        corpus_split=candidate.corpus_split,
        source=candidate.source,
        extra={**candidate.extra, **audio.extra},
    )


def _rejected(candidate: Candidate, unfit: Unfit) -> Rejection:
    reason, detail = unfit
    return Rejection(
        row_id=candidate.audio_id,
        audio_id=candidate.audio_id,
        step=_STEP,
        reason=reason,
        detail=detail,
    )
