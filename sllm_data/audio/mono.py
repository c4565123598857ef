"""A clip as one channel at another rate, for models that listen."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sllm_data.audio.decode import DecodedClip
from sllm_data.units import Hertz

if TYPE_CHECKING:
    from torchaudio.transforms import Resample

_MAX_RATES = 16


def mono(clip: DecodedClip, rate_hz: Hertz) -> npt.NDArray[np.int16]:
    """Returns the mean of all channels at another rate, shape (num_samples,).

    The filter is torchaudio's windowed sinc, with its defaults.
    """
    samples = clip.samples
    mixed = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if clip.sampling_rate != rate_hz:
        import torch  # noqa: PLC0415 - its import takes seconds

        wave = torch.from_numpy(mixed.astype(np.float32))
        mixed = _resampler(clip.sampling_rate, rate_hz)(wave).numpy()
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(mixed), limits.min, limits.max).astype(np.int16)


@lru_cache(maxsize=_MAX_RATES)
def _resampler(from_hz: int, to_hz: int) -> "Resample":
    """Returns the filter between two rates; making it takes longer than a short clip does."""
    import torch  # noqa: PLC0415 - its import takes seconds
    from torchaudio.transforms import Resample  # noqa: PLC0415 - as above

    return Resample(from_hz, to_hz, dtype=torch.float32)
