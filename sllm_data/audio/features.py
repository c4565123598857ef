"""Whisper's log-mel features at a clip's true length, in plain torch.

    clip (native rate) -> hear: a stretch, mono, 16 kHz -> log_mel: (frames, mels)

The same numbers as transformers' WhisperFeatureExtractor without its padding to 30 s; a test
compares the two. The log is floored at 8 below the loudest of the whole stretch, so features
are computed before a stretch is cut into the encoder's chunks.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from sllm_data.audio.decode import DecodedClip
from sllm_data.audio.mono import mono
from sllm_data.units import Hertz

RATE_HZ = Hertz(16_000)
"""Of what Whisper hears."""

HOP = 160
"""Samples between frames."""

_WINDOW = 400  # samples of a frame
_FULL_SCALE = 2.0**15
_LEAST, _RANGE = 1e-10, 8.0  # of a power, and of its log10
_HIGHEST_HZ = RATE_HZ / 2
_LINEAR_HZ = 1000.0  # up to here Slaney's mels are linear, then logarithmic
_HZ_PER_MEL, _MEL_STEP = 200.0 / 3.0, math.log(6.4) / 27.0


def hear(
    clip: DecodedClip, *, start: int, num_samples: int, num_heard: int, gain_db: float = 0.0
) -> Tensor:
    """Returns a stretch of a clip as an encoder hears it.

    Args:
        clip: At its own rate, with any number of channels.
        start: The first sample of the stretch, at the clip's rate.
        num_samples: Its length at the clip's rate; the stretch must lie inside the clip.
        num_heard: Its length at 16 kHz, as the geometry says; what is missing is silence.
        gain_db: Makes it louder or softer.

    Returns:
        float32 (num_heard,), 1.0 is full scale.
    """
    stretch = DecodedClip(
        samples=clip.samples[start : start + num_samples],
        sampling_rate=clip.sampling_rate,
        codec=clip.codec,
    )
    heard = torch.zeros(num_heard)
    samples = torch.from_numpy(mono(stretch, RATE_HZ))[:num_heard]
    heard[: len(samples)] = samples
    return heard.mul_(10.0 ** (gain_db / 20.0) / _FULL_SCALE)


def log_mel(samples: Tensor, *, mels: int) -> Tensor:
    """Computes Whisper's features.

    Args:
        samples: float32 (num_samples,), mono at 16 kHz, 25 ms or longer; 1.0 is full scale.
        mels: Of a frame: 80, or 128 for whisper-large-v3.

    Returns:
        float32 (num_samples // 160, mels).

    Raises:
        ValueError: The samples are shorter than 25 ms.
    """
    if len(samples) < _WINDOW:
        raise ValueError(f"samples must be {_WINDOW} or more, got {len(samples)}")
    spectrum = torch.stft(samples, _WINDOW, HOP, window=_hann(), return_complex=True)
    squares = torch.view_as_real(spectrum[:, :-1]).square()  # the last is half empty
    power = squares[..., 0] + squares[..., 1]  # a sum over so short an axis is far slower
    logs = (power.T @ _filters(mels)).clamp_(min=_LEAST).log10_()
    return logs.clamp_(min=float(logs.max()) - _RANGE).add_(4.0).div_(4.0)


@cache
def _hann() -> Tensor:
    return torch.hann_window(_WINDOW)


@cache
def _filters(mels: int) -> Tensor:
    """Returns Slaney's mel filters from 0 to 8 kHz, each of area 1: shape (201, mels)."""
    bins = np.linspace(0.0, _HIGHEST_HZ, _WINDOW // 2 + 1)
    corners = _to_hertz(np.linspace(0.0, _to_mel(_HIGHEST_HZ), mels + 2))
    widths = np.diff(corners)
    slopes = corners[None, :] - bins[:, None]
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    areas = 2.0 / (corners[2:] - corners[:-2])
    return torch.from_numpy(triangles * areas).float()


def _to_mel(frequency_hz: float) -> float:
    if frequency_hz < _LINEAR_HZ:
        return frequency_hz / _HZ_PER_MEL
    return _LINEAR_HZ / _HZ_PER_MEL + math.log(frequency_hz / _LINEAR_HZ) / _MEL_STEP


def _to_hertz(mels: np.ndarray) -> np.ndarray:
    linear = _LINEAR_HZ / _HZ_PER_MEL
    above = _LINEAR_HZ * np.exp(_MEL_STEP * (mels - linear))
    return np.where(mels < linear, mels * _HZ_PER_MEL, above)
