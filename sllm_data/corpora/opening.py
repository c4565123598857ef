"""A candidate in, an utterance and its bytes out: the one time its audio is decoded here.

Each clip is read, hashed and decoded once to prove that it decodes and to learn its true
length; the samples are hashed and thrown away. Duplicates are not looked for: that takes
all utterances and is the global pass's work.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sllm_data.audio.decode import DecodedClip, OverlongAudioError, UndecodableAudioError, decode
from sllm_data.corpora.config import Bounds, CorpusConfig, LibriSpeechConfig
from sllm_data.corpora.folders import is_file, stays_inside
from sllm_data.corpora.librispeech import librispeech_root
from sllm_data.errors import CorpusError
from sllm_data.files import sha256_of_bytes
from sllm_data.records import Candidate, Reason, Rejection, Utterance

_STEP = "ingest"
_FULL_SCALE = 32768


def corpus_root(config: CorpusConfig) -> Path:
    """Returns the folder that `Candidate.audio_path` is relative to."""
    if isinstance(config, LibriSpeechConfig):
        return librispeech_root(config.path)
    return config.path.expanduser()


def open_candidate(
    candidate: Candidate, *, root: Path, bounds: Bounds
) -> tuple[Utterance, bytes] | Rejection:
    """Reads, hashes and decodes the audio of a candidate.

    Args:
        candidate: What a corpus listed.
        root: `corpus_root` of its entry.
        bounds: What a usable clip is; `Bounds.for_entry` gives those of the entry.

    Returns:
        The utterance with the bytes of its file as they are, or why there is none.

    Raises:
        CorpusError: The storage failed while reading; the file may be good.
    """
    if not any(character.isalnum() for character in candidate.transcript):
        detail = f"the transcript must hold a letter or digit, got {candidate.transcript[:40]!r}"
        return _rejected(candidate, Reason.EMPTY_TRANSCRIPT, detail)
    content = _content(candidate, root, bounds)
    if isinstance(content, Rejection):
        return content
    try:
        clip = decode(content, max_duration_s=bounds.max_duration_s)
    except OverlongAudioError as error:
        return _rejected(candidate, Reason.TOO_LONG, str(error))
    except UndecodableAudioError as error:
        return _rejected(candidate, Reason.UNREADABLE_AUDIO, str(error))
    unfit = _why_unfit(clip, bounds)
    if unfit is not None:
        reason, detail = unfit
        return _rejected(candidate, reason, detail)
    return _utterance(candidate, content, clip), content


def _content(candidate: Candidate, root: Path, bounds: Bounds) -> bytes | Rejection:
    path = stays_inside(root, candidate.audio_path)
    if path is None:
        detail = f"{candidate.audio_path[:80]!r} must stay in the corpus folder"
        return _rejected(candidate, Reason.PATH_OUTSIDE_CORPUS, detail)
    if not is_file(path):
        detail = f"{candidate.audio_path} must be a file, there is none"
        return _rejected(candidate, Reason.AUDIO_MISSING, detail)
    try:
        with path.open("rb") as audio:
            num_bytes = os.fstat(audio.fileno()).st_size
            if num_bytes > bounds.max_file_bytes:
                detail = f"must have at most {bounds.max_file_bytes} bytes, got {num_bytes}"
                return _rejected(candidate, Reason.TOO_LONG, detail)
            return audio.read()
    except OSError as error:
        # a lost disk or mount would turn good clips into rejections for ever: stop instead
        raise CorpusError(
            f"{path}: can't be read: {error.strerror or error}; "
            "check the storage and the permissions, then run the same command again"
        ) from error


def _why_unfit(clip: DecodedClip, bounds: Bounds) -> tuple[Reason, str] | None:
    duration_s = len(clip.samples) / clip.sampling_rate
    if duration_s < bounds.min_duration_s:
        detail = f"must last at least {bounds.min_duration_s:g} s, got {duration_s:.3f} s"
        return Reason.TOO_SHORT, detail
    peak_dbfs = _peak_dbfs(clip.samples)
    if peak_dbfs <= bounds.silence_peak_dbfs:
        detail = f"must be louder than {bounds.silence_peak_dbfs:g} dBFS, got {peak_dbfs:.1f} dBFS"
        return Reason.SILENT, detail
    return None


def _peak_dbfs(samples: npt.NDArray[np.int16]) -> float:
    peak = max(int(samples.max()), -int(samples.min()))
    return 20 * float(np.log10(peak / _FULL_SCALE)) if peak else -float("inf")


def _utterance(candidate: Candidate, content: bytes, clip: DecodedClip) -> Utterance:
    samples = clip.samples.astype("<i2", copy=False)
    return Utterance(
        audio_id=candidate.audio_id,
        entry=candidate.entry,
        sha256=sha256_of_bytes(content),
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
        extra=candidate.extra,
    )


def _rejected(candidate: Candidate, reason: Reason, detail: str) -> Rejection:
    return Rejection(
        row_id=candidate.audio_id,
        audio_id=candidate.audio_id,
        step=_STEP,
        reason=reason,
        detail=detail,
    )
