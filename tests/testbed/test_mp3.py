import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.audio.claims import mp3_has_count
from sllm_data.audio.decode import UndecodableAudioError, decode
from sllm_data.testbed.events import stories
from sllm_data.testbed.mp3 import mp3
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES

RATE_HZ = 22_050


@pytest.fixture(scope="module")
def spoken() -> list[np.ndarray]:
    """A story by each voice, int16 at 22,050 Hz."""
    synthesizer, voices = Synthesizer(), [*WORLD_VOICES, *HELD_OUT_VOICES]
    said = zip(stories(len(voices), seed=3), voices, strict=True)
    return [
        synthesizer.speak(
            story.text, voice=voice.name, rate_wpm=voice.rate_wpm, pitch=voice.pitch
        ).samples
        for story, voice in said
    ]


def lag(heard: np.ndarray, said: np.ndarray) -> int:
    """By how many samples what is heard is late, at the peak of the correlation of both."""
    size = 2 * max(len(heard), len(said))
    spectrum = (
        np.fft.rfft(heard.astype(float), size) * np.fft.rfft(said.astype(float), size).conj()
    )
    peak = int(np.argmax(np.fft.irfft(spectrum, size)))
    return peak if peak < size // 2 else peak - size


def test_every_voice_decodes_to_as_many_samples_none_of_them_late_or_early(spoken):
    for samples in spoken:
        heard = decode(mp3(samples, RATE_HZ))
        assert heard.samples.shape == (len(samples), 1)
        assert (heard.sampling_rate, heard.codec) == (RATE_HZ, "mp3/mpeg_layer_iii")
        assert lag(heard.samples[:, 0], samples) == 0


def test_what_decodes_is_near_to_what_was_said(spoken):
    for samples in spoken:
        error = decode(mp3(samples, RATE_HZ)).samples[:, 0].astype(float) - samples
        assert np.mean(error**2) < 0.02 * np.mean(samples.astype(float) ** 2)  # 17 dB


@settings(max_examples=60)
@given(
    num_samples=st.integers(1, 6_000), first=st.integers(5_000, 20_000), voice=st.integers(0, 15)
)
def test_a_clip_of_any_length_is_as_long_and_its_header_says_so(spoken, num_samples, first, voice):
    samples = spoken[voice][first : first + num_samples]
    content = mp3(samples, RATE_HZ)
    assert mp3_has_count(content)
    assert soundfile.info(io.BytesIO(content)).frames == len(samples)
    heard = decode(content).samples[:, 0]
    assert len(heard) == len(samples)
    if num_samples > 2_000:
        assert lag(heard, samples) == 0


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
def test_other_rates_of_the_same_frames_are_as_exact(spoken, rate_hz):
    heard = decode(mp3(spoken[0], rate_hz))
    assert heard.sampling_rate == rate_hz
    assert len(heard.samples) == len(spoken[0])
    assert lag(heard.samples[:, 0], spoken[0]) == 0


def test_a_clip_that_is_cut_off_is_found_out_by_its_header(spoken):
    content = mp3(spoken[0], RATE_HZ)
    with pytest.raises(UndecodableAudioError, match="cut off or damaged"):
        decode(content[: len(content) // 2])


def test_the_same_speech_gives_the_same_bytes(spoken):
    assert mp3(spoken[0], RATE_HZ) == mp3(spoken[0].copy(), RATE_HZ)
