"""Bytes of a clip in, 16-bit samples at the native rate out, by libsndfile.

Every sample count in a dataset is one of these samples, so this is the only decoder:
`decode` for whole clips, its `AudioStream` for the stretches that `segments` cuts.
Nothing is resampled, mixed down or normalised here. Three habits of libsndfile would put
wrong samples into a dataset and are worked around, each guarded by a test:

- a float WAV read as 16-bit comes out as zeros: floats are scaled and clipped here;
- Vorbis and Opus above full scale wrap round to the other sign: the same remedy;
- a position is set again after each read, which shifts MP3 by a rounding step: the stream
  is declared unseekable, so that reading in blocks gives what reading at once gives.
"""

import io
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt
import soundfile as sf

from sllm_data.audio.claims import (
    flac_claim,
    forget_flac_claim,
    is_flac,
    missing_wav_bytes,
    mp3_has_count,
)
from sllm_data.errors import SllmDataError

MAX_DURATION_S = 3600.0
"""What `decode` takes at most unless told otherwise: an hour, 0.35 GB at 48 kHz mono."""

_BLOCK_SAMPLES = 1 << 20  # 2 MB: a header's claim never makes us ask for more at once
_FULL_SCALE = 32768.0
_FLOAT_CODINGS = frozenset({"FLOAT", "DOUBLE", "VORBIS", "OPUS"})
TOLERANCE_S = 0.1  # encoder delay and padding: MP3 counts are off by up to 0.05 s


class UndecodableAudioError(SllmDataError):
    """The bytes are no audio that libsndfile decodes to its end; one line says why."""


class OverlongAudioError(SllmDataError):
    """More samples decode than the caller allows; the rest was not decoded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedClip:
    """The samples of one clip."""

    samples: npt.NDArray[np.int16]
    """Shape (num_samples, num_channels), C-contiguous."""
    sampling_rate: int
    """In hertz, as in the file."""
    codec: str
    """Container and coding in lower case: `flac/pcm_16`, `mp3/mpeg_layer_iii`."""


class _SoundFile(sf.SoundFile):  # type: ignore[misc] # soundfile has no types
    """A sound file whose position soundfile leaves alone after each read."""

    def seekable(self) -> bool:
        """Says no: see the module's docstring on MP3."""
        return False


class AudioStream:
    """An open sound file that is read block by block as 16-bit samples.

    Raises:
        UndecodableAudioError: By each method and when it is opened: not audio, or damaged.
    """

    def __init__(self, source: BinaryIO | io.RawIOBase) -> None:
        try:
            self._file = _SoundFile(source)
        except sf.LibsndfileError as error:
            raise _undecodable(error) from error
        self._type = np.float32 if self._file.subtype in _FLOAT_CODINGS else np.int16
        self.container: str = self._file.format
        self.coding: str = self._file.subtype
        self.sampling_rate = int(self._file.samplerate)
        self.num_channels = int(self._file.channels)
        self.num_claimed = int(self._file.frames)
        """Samples that the header speaks of; no promise."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the decoder; the source stays open."""
        self._file.close()

    @property
    def codec(self) -> str:
        """Container and coding in lower case: `flac/pcm_16`."""
        return f"{self.container}/{self.coding}".lower()

    def read(self, num_samples: int) -> npt.NDArray[np.int16]:
        """Returns the next samples, (num_samples, num_channels); fewer only at the end."""
        space = np.empty((num_samples, self.num_channels), self._type)
        try:
            block = self._file.read(out=space)
        except sf.LibsndfileError as error:
            raise _undecodable(error) from error
        return block if self._type is np.int16 else _to_int16(block)

    def seek(self, sample: int) -> None:
        """Goes to a sample; exact only where `segments.seeks_exactly` says so."""
        try:
            self._file.seek(sample)
        except sf.LibsndfileError as error:
            raise _undecodable(error) from error


def _undecodable(error: sf.LibsndfileError) -> UndecodableAudioError:
    # its str() holds the address of our BytesIO, which differs from run to run
    return UndecodableAudioError(f"libsndfile says: {error.error_string}")


class _Bytes(io.BytesIO):
    """Bytes in memory in which any position can be set.

    A damaged header makes libsndfile seek before the beginning; soundfile calls from C, where
    the exception would be printed on the screen, and the position taken for 0.
    """

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Sets the position; before the beginning is the beginning."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.getbuffer().nbytes}
        return super().seek(min(max(0, base[whence] + offset), sys.maxsize))


def stream_of(content: bytes) -> AudioStream:
    """Opens a clip in memory; nothing is decoded before it is read.

    Raises:
        UndecodableAudioError: Not audio.
    """
    return AudioStream(_Bytes(content))


def libsndfile_version() -> str:
    """Returns the version of the library that decodes, such as `1.2.2`."""
    return str(sf.__libsndfile_version__)


def decode(content: bytes, *, max_duration_s: float = MAX_DURATION_S) -> DecodedClip:
    """Decodes a whole clip: FLAC, WAV, MP3, Ogg Vorbis, Ogg Opus and what libsndfile knows.

    Memory follows what decodes, never what a header claims.

    Args:
        content: The bytes of the file.
        max_duration_s: The longest clip to decode, in seconds.

    Raises:
        UndecodableAudioError: Not audio, damaged, without samples, or the header claims
            another length than what decodes.
        OverlongAudioError: The clip is longer than `max_duration_s`.
    """
    source = _Bytes(content)
    flac = is_flac(content)
    if flac:
        with source.getbuffer() as header:
            forget_flac_claim(header)
    with AudioStream(source) as stream:
        claimed = flac_claim(content) if flac else stream.num_claimed
        samples = _read(stream, claimed or 0, max_duration_s)
        _check_length(content, len(samples), claimed, stream)
        return DecodedClip(samples=samples, sampling_rate=stream.sampling_rate, codec=stream.codec)


def _read(stream: AudioStream, claimed: int, max_duration_s: float) -> npt.NDArray[np.int16]:
    limit = math.floor(max_duration_s * stream.sampling_rate)
    blocks: list[npt.NDArray[np.int16]] = []
    num_samples = 0
    for block in _blocks(stream, claimed):
        blocks.append(block)
        num_samples += len(block)
        if num_samples > limit:
            raise OverlongAudioError(f"must last at most {max_duration_s:g} s, it goes on longer")
    if num_samples == 0:
        raise UndecodableAudioError("must hold samples, none decode")
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks)


def _blocks(stream: AudioStream, claimed: int) -> Iterator[npt.NDArray[np.int16]]:
    """Yields what decodes; one sample more than claimed is asked for to see the end at once."""
    block_frames = max(1, _BLOCK_SAMPLES // stream.num_channels)
    frames = min(claimed + 1, block_frames)
    while True:
        block = stream.read(frames)
        if len(block):
            yield block
        if len(block) < frames:
            return
        frames = block_frames


def _to_int16(block: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    if not np.isfinite(block).all():
        raise UndecodableAudioError("must hold finite samples, some are infinite or NaN")
    scaled: npt.NDArray[np.float32] = np.rint(block * np.float32(_FULL_SCALE))
    return scaled.clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


def _check_length(
    content: bytes, num_samples: int, claimed: int | None, stream: AudioStream
) -> None:
    missing = missing_wav_bytes(content)
    if missing:
        raise UndecodableAudioError(f"the file is cut off: {missing} bytes of samples missing")
    if claimed is None or (stream.container == "MP3" and not mp3_has_count(content)):
        return
    allowed = 0 if stream.container == "FLAC" else TOLERANCE_S * stream.sampling_rate
    if abs(claimed - num_samples) > allowed:
        raise UndecodableAudioError(
            f"the header says {claimed} samples, {num_samples} decode: cut off or damaged"
        )
