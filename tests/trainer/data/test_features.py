"""Features against transformers' own, and stretches of clips at every rate."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.audio.decode import DecodedClip
from sllm_data.audio.features import hear, log_mel
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.units import Hertz


def clip_of(num_samples: int, rate: int, *, channels: int = 1) -> DecodedClip:
    rng = np.random.default_rng(num_samples)
    samples = rng.integers(-3000, 3000, (num_samples, channels), dtype=np.int16)
    return DecodedClip(samples=samples, sampling_rate=rate, codec="made")


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("num_samples", [400, 559, 16_000, 112_013])
def test_features_are_those_of_transformers_at_true_length(mels, num_samples):
    from transformers import WhisperFeatureExtractor

    rng = np.random.default_rng(mels)
    loudness = np.sin(np.arange(num_samples) / 3000)  # nearly silent in places
    samples = (rng.standard_normal(num_samples) * 3000 * loudness).astype(np.int16)
    expected = WhisperFeatureExtractor(feature_size=mels)(
        samples.astype(np.float32) / 2**15,
        sampling_rate=16_000,
        padding="do_not_pad",
        truncation=False,
        return_tensors="np",
    )["input_features"][0]
    found = log_mel(torch.from_numpy(samples).float() / 2**15, mels=mels)
    assert found.shape == (num_samples // 160, mels)
    assert np.abs(found.numpy().T - expected).max() < 1e-4


def test_silence_has_features():
    assert log_mel(torch.zeros(16_000), mels=80).isfinite().all()


def test_less_than_a_frame_is_refused():
    with pytest.raises(ValueError, match="400 or more, got 399"):
        log_mel(torch.zeros(399), mels=80)


@settings(max_examples=40)
@given(
    num_samples=st.integers(1, 50_000),
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000]),
)
def test_a_stretch_has_as_many_samples_and_frames_as_the_geometry_says(num_samples, rate):
    geometry = AudioGeometry(window=17)
    num_heard = geometry.num_samples(num_samples, Hertz(rate))
    clip = clip_of(num_samples, rate)
    samples = hear(clip, start=0, num_samples=num_samples, num_heard=num_heard)
    assert samples.shape == (num_heard,)
    assert len(log_mel(samples, mels=80)) == geometry.num_frames(num_samples, Hertz(rate))


def test_a_stretch_is_that_slice_of_all_channels_mixed():
    clip = clip_of(9_000, 16_000, channels=2)
    samples = hear(clip, start=1_000, num_samples=5_000, num_heard=5_000)
    mixed = clip.samples[1_000:6_000].mean(axis=1)
    assert np.abs(samples.numpy() * 2**15 - mixed).max() <= 0.5


def test_gain_makes_a_stretch_louder():
    clip = clip_of(5_000, 16_000)
    plain, louder = (
        hear(clip, start=0, num_samples=5_000, num_heard=5_000, gain_db=gain) for gain in (0, 20)
    )
    torch.testing.assert_close(louder, plain * 10)


def test_a_short_clip_has_silence_behind_it():
    samples = hear(clip_of(100, 16_000), start=0, num_samples=100, num_heard=400)
    assert samples[:100].abs().sum() > 0
    assert samples[100:].abs().sum() == 0
