"""A clip as one channel at another rate, for models that listen."""

import numpy as np
import numpy.typing as npt

from sllm_data.audio.decode import DecodedClip
from sllm_data.units import Hertz


def mono(clip: DecodedClip, rate_hz: Hertz) -> npt.NDArray[np.int16]:
    """Returns the mean of all channels at another rate, shape (num_samples,).

    The filter is torchaudio's windowed sinc, with its defaults.
    """
    samples = clip.samples
    mixed = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if clip.sampling_rate != rate_hz:
        import torch  # noqa: PLC0415 - its import takes seconds
        from torchaudio.functional import resample  # noqa: PLC0415 - as above

        wave = torch.from_numpy(mixed.astype(np.float32))
        mixed = resample(wave, clip.sampling_rate, rate_hz).numpy()
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(mixed), limits.min, limits.max).astype(np.int16)
