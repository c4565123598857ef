"""Stretches cut out of a long file, by absolute time, without ever holding the file.

    file    |----------------------------------------------------------| end
    cuts        [start_s, stop_s)   [........)
                                [.........)            starts never go down

A cut is exactly that slice of what `decode` gives for the whole file. Where a header counts
equal steps (FLAC, plain PCM) each cut is sought; everything else is decoded on from cut to
cut, and what two cuts share is kept, since libsndfile's positions in MP3 are a guess. Either
way the samples of a cut depend on the file and its own times only, not on the cuts before it.

Memory: one cut and one block of samples.
"""

import io
import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import soundfile as sf

from sllm_data.audio.decode import (
    TOLERANCE_S,
    AudioStream,
    OverlongAudioError,
    UndecodableAudioError,
)
from sllm_data.audio.window import FileWindow
from sllm_data.errors import SllmDataError
from sllm_data.units import Hertz, Seconds, to_samples

_BLOCK_SAMPLES = 1 << 18  # of all channels together
# not AU: where its header points into itself, libsndfile seeks elsewhere than it decodes
_COUNTED_CONTAINERS = frozenset({"FLAC", "WAV", "WAVEX", "RF64", "W64", "AIFF"})
_COUNTED_CODINGS = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)

Samples = npt.NDArray[np.int16]


class BeyondEndError(SllmDataError):
    """The cut begins or ends after the last sample of the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """One stretch of a file."""

    samples: Samples
    """Shape (num_samples, num_channels), C-contiguous."""
    is_whole: bool
    """Whether this is all of the file."""


def seeks_exactly(codec: str) -> bool:
    """Tells whether a position in such a file is the sample that decoding on would reach.

    >>> seeks_exactly("flac/pcm_16"), seeks_exactly("mp3/mpeg_layer_iii")
    (True, False)
    """
    container, _, coding = codec.upper().partition("/")
    return container in _COUNTED_CONTAINERS and coding in _COUNTED_CODINGS


def as_flac(samples: Samples, sampling_rate: int) -> bytes:
    """Encodes 16-bit samples without loss.

    Raises:
        UndecodableAudioError: FLAC has no room for that rate or number of channels.
    """
    target = io.BytesIO()
    try:
        sf.write(target, samples, sampling_rate, format="FLAC", subtype="PCM_16")
    except sf.LibsndfileError as error:
        raise UndecodableAudioError(
            f"must fit into FLAC, {samples.shape[1]} channels at {sampling_rate} Hz do not"
        ) from error
    return target.getvalue()


class SegmentReader:
    """Cuts one file; a start before that of the last cut costs a new beginning.

    Raises:
        UndecodableAudioError: The file is not audio.
        OSError: The storage failed.
    """

    def __init__(self, source: FileWindow) -> None:
        self._source = source
        self._stream = self._opened()
        self._is_sound = True  # whether the stream may be read on
        self._position = 0  # of the next sample to decode
        self._kept = self._no_samples()  # the last samples before it, where none can be sought
        self._dead_end: tuple[int, UndecodableAudioError] | None = None
        self._block = max(1, _BLOCK_SAMPLES // self._stream.num_channels)
        self.sampling_rate = self._stream.sampling_rate
        self.codec = self._stream.codec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def cut(self, start_s: Seconds, duration_s: Seconds | None, *, max_duration_s: float) -> Cut:
        """Decodes [start_s, start_s + duration_s), to the end of the file without a duration.

        A cut that goes beyond the end by no more than a rounding (`TOLERANCE_S`) ends there.

        Raises:
            BeyondEndError: The file ends before.
            OverlongAudioError: The cut is longer than `max_duration_s`.
            UndecodableAudioError: The file is damaged there.
            OSError: The storage failed.
        """
        start = self._sample_at(start_s)
        limit = math.floor(max_duration_s * self.sampling_rate)
        if duration_s is None:
            stop = start + limit + 1
        else:
            stop = max(start + 1, self._sample_at(Seconds(start_s + duration_s)))
            if stop - start > limit:
                raise _overlong(max_duration_s)
        try:
            samples = self._between(start, stop)
            is_whole = start == 0 and (len(samples) < stop or self._ends_at(stop))
        finally:
            if self._source.failure is not None:
                raise self._source.failure
        if len(samples) > limit:
            raise _overlong(max_duration_s)
        missing = 0 if duration_s is None else stop - start - len(samples)
        if len(samples) == 0 or missing > TOLERANCE_S * self.sampling_rate:
            raise self._beyond_end(start, stop, len(samples))
        return Cut(samples=samples, is_whole=is_whole)

    def _between(self, start: int, stop: int) -> Samples:
        if not self._is_sound:
            self._begin_again()
        if seeks_exactly(self._stream.codec):
            return self._sought(start, stop)
        return self._decoded_on(start, stop)

    def _sought(self, start: int, stop: int) -> Samples:
        if start != self._position:
            self._is_sound = False  # until the new position is reached
            try:
                self._stream.seek(start)
            except UndecodableAudioError as error:
                claimed = self._source.flac_claim or self._stream.num_claimed
                if start >= claimed:
                    return self._no_samples()
                raise UndecodableAudioError(
                    f"must have samples at {start / self.sampling_rate:.3f} s, none can be found: "
                    "the file is cut off or damaged"
                ) from error
            self._is_sound, self._position = True, start
        return self._read(stop - start)

    def _decoded_on(self, start: int, stop: int) -> Samples:
        if self._dead_end is not None and stop >= self._dead_end[0]:
            raise self._dead_end[1]
        if start < self._position - len(self._kept):
            self._begin_again()
        while self._position < start:
            self._kept = self._no_samples()
            if not len(self._read(min(self._block, start - self._position))):
                return self._no_samples()
        kept = self._kept[len(self._kept) - (self._position - start) :]
        if stop > self._position:
            kept = np.concatenate([kept, self._read(stop - self._position)])
        self._kept = kept
        return kept[: stop - start]

    def _read(self, num_samples: int) -> Samples:
        """Decodes up to `num_samples` from the position, fewer at the end of the file."""
        blocks = [self._no_samples()]
        stop = self._position + num_samples
        while self._position < stop:
            asked = min(self._block, stop - self._position)
            try:
                block = self._stream.read(asked)
            except UndecodableAudioError as error:
                # decoding on from the beginning would end here again
                self._dead_end = self._position + asked, error
                self._is_sound = False
                raise
            blocks.append(block)
            self._position += len(block)
            if len(block) < asked:
                break
        return np.concatenate(blocks)

    def _ends_at(self, stop: int) -> bool:
        if self._position > stop:  # an earlier cut went on
            return False
        try:
            more = self._read(1)
        except UndecodableAudioError:  # there is more, if damaged
            return False
        self._kept = np.concatenate([self._kept, more])
        return len(more) == 0

    def _opened(self) -> AudioStream:
        self._source.seek(0)
        try:
            return AudioStream(self._source)
        finally:
            if self._source.failure is not None:
                raise self._source.failure

    def _begin_again(self) -> None:
        self._stream.close()
        self._stream = self._opened()
        self._is_sound, self._position, self._kept = True, 0, self._no_samples()

    def _sample_at(self, time_s: Seconds) -> int:
        return to_samples(time_s, Hertz(self.sampling_rate))

    def _no_samples(self) -> Samples:
        return np.empty((0, self._stream.num_channels), np.int16)

    def _beyond_end(self, start: int, stop: int, num_samples: int) -> BeyondEndError:
        rate = self.sampling_rate
        asked = f"the segment from {start / rate:.3f} to {stop / rate:.3f} s must lie in the file"
        if num_samples:
            return BeyondEndError(f"{asked}, which ends at {(start + num_samples) / rate:.3f} s")
        return BeyondEndError(f"{asked}, which ends before it begins")


def _overlong(max_duration_s: float) -> OverlongAudioError:
    return OverlongAudioError(f"must last at most {max_duration_s:g} s, the segment is longer")
