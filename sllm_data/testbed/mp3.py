"""Speech as MP3, fast, which decodes to as many samples, none of them late or early.

libsndfile's MP3 encoder has no setting for speed. LAME by itself is five times as fast at its
quality 7, and for espeak-ng's voices as near to the original. What it hands out is late by its
own delay and that of the decoder, and padded to whole frames. Decoders cut both off where a
first frame without sound, LAME's tag, says how much; lameenc writes none, so it is made here.
"""

import struct

import lameenc
import numpy as np
import numpy.typing as npt

from sllm_data.units import Hertz

_BIT_RATE_KBPS = 48
_FASTEST = 7
_FRAME_SAMPLES = 576  # of MPEG 2, which all rates from 16 to 24 kHz are
_ENCODER_DELAY = 576  # of LAME, in samples
_SIDE_BYTES = 9  # side information of a mono frame of MPEG 2
_HAS_FRAMES_AND_BYTES = 3


def mp3(samples: npt.NDArray[np.int16], rate_hz: Hertz) -> bytes:
    """Encodes mono speech at a constant 48 kbit/s.

    Args:
        samples: Shape (num_samples,).
        rate_hz: 16,000, 22,050 or 24,000.
    """
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(1)
    encoder.set_in_sample_rate(rate_hz)
    encoder.set_bit_rate(_BIT_RATE_KBPS)
    encoder.set_quality(_FASTEST)
    frames = bytes(encoder.encode(samples.tobytes()) + encoder.flush())
    return _tag(frames, len(samples), rate_hz) + frames


def _tag(frames: bytes, num_samples: int, rate_hz: Hertz) -> bytes:
    """Returns the frame that says how many frames follow, and what of them is sound."""
    size = 72_000 * _BIT_RATE_KBPS // rate_hz
    num_frames = _num_frames(frames, size)
    padding = num_frames * _FRAME_SAMPLES - _ENCODER_DELAY - num_samples
    header = frames[:2] + bytes([frames[2] & ~0b10]) + frames[3:4]  # not padded: `size` bytes
    count = struct.pack(">4sIII", b"Info", _HAS_FRAMES_AND_BYTES, num_frames, size + len(frames))
    maker = b"LAME3.100".ljust(21, b"\0")  # its settings, all unknown
    trim = (_ENCODER_DELAY << 12 | padding).to_bytes(3)
    return (header + bytes(_SIDE_BYTES) + count + maker + trim).ljust(size, b"\0")


def _num_frames(frames: bytes, size: int) -> int:
    """Counts frames of `size` bytes, or of one more where the third byte of a frame says so."""
    count = position = 0
    while position < len(frames):
        position += size + (frames[position + 2] >> 1 & 1)
        count += 1
    return count
