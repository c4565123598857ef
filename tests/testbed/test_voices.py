import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.testbed.clips import resampled, spoken
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES, cast
from sllm_data.units import Hertz

RATES = [Hertz(rate) for rate in (8_000, 16_000, 22_050, 32_000, 44_100, 48_000)]


def test_the_first_forty_english_voices_are_distinct():
    assert len({voice.name for voice in cast("en", 40, first=0, seed=1)}) == 40
    assert len({voice.name for voice in cast("de", 8, first=0, seed=1)}) == 8


def test_held_out_voices_share_neither_accent_nor_variant_with_the_others():
    for position in (0, 1):
        seen, held_out = (
            {voice.name.split("+")[position] for voice in voices}
            for voices in (WORLD_VOICES, HELD_OUT_VOICES)
        )
        assert not seen & held_out
    assert len({voice.name for voice in WORLD_VOICES}) == 12
    assert len({voice.name for voice in HELD_OUT_VOICES}) == 4


def test_the_world_is_told_by_women_and_men_of_many_paces():
    for voices in (WORLD_VOICES, HELD_OUT_VOICES):
        assert len({voice.rate_wpm for voice in voices}) >= len(voices) // 2
        assert len({voice.pitch for voice in voices}) >= 4
        women = sum(voice.gender == "female" for voice in voices)
        assert women == len(voices) / 2


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_voice_depends_on_its_number_only(first, count):
    assert (
        cast("en", count, first=first, seed=1)
        == cast("en", first + count, first=0, seed=1)[first:]
    )


def test_voices_take_turns_and_say_the_texts_in_order():
    voices = cast("en", 2, first=0, seed=1)
    texts = ["One for me.", "Two for you.", "Three for tea."]
    clips = list(spoken(texts, voices, Hertz(16_000)))
    assert [clip.text for clip in clips] == texts
    assert [clip.voice for clip in clips] == [voices[0], voices[1], voices[0]]


@settings(max_examples=30)
@given(st.integers(1, 5_000), st.sampled_from(RATES), st.sampled_from(RATES))
def test_resampling_keeps_the_duration_up_to_the_padding(num_samples, from_hz, to_hz):
    out = resampled(np.zeros(num_samples, dtype=np.int16), from_hz, to_hz)
    missing_s = len(out) / to_hz - num_samples / from_hz
    assert 0 <= missing_s < 0.021  # 441 samples at 22.05 kHz
    assert not out.any()


@pytest.mark.parametrize("to_hz", RATES)
def test_resampling_keeps_a_tone(to_hz):
    time_s = np.arange(22_050) / 22_050
    tone = (10_000 * np.sin(2 * np.pi * 440 * time_s)).astype(np.int16)
    wanted = 10_000 * np.sin(2 * np.pi * 440 * np.arange(to_hz) / to_hz)
    assert np.abs(resampled(tone, Hertz(22_050), to_hz) - wanted).max() < 100


def test_resampling_clips_instead_of_wrapping():
    square = np.where(np.arange(22_050) % 100 < 50, 32_767, -32_768).astype(np.int16)
    out = resampled(square, Hertz(22_050), Hertz(48_000))
    assert out.max() == 32_767
    assert np.mean(np.abs(out.astype(int))) > 25_000
