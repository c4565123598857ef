import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.errors import ModelError
from sllm_data.testbed.speech import Speech, Synthesizer

TEXT = "The baker's daughter isn't here: she left, didn't she?"
VOICES = ["en", "en-us+f3", "en-us+m2", "en-gb-scotland", "de+f2", "fr", "es", "en+whisper"]


def same(one: Speech, other: Speech) -> bool:
    return one.words == other.words and np.array_equal(one.samples, other.samples)


@settings(max_examples=25)
@given(st.sampled_from(VOICES), st.sampled_from(VOICES), st.sampled_from([TEXT, "Good morning!"]))
def test_speech_does_not_depend_on_what_was_said_before(voice, other_voice, other_text):
    first = Synthesizer().speak(TEXT, voice=voice)
    Synthesizer().speak(other_text, voice=other_voice, rate_wpm=220, pitch=80)
    assert same(Synthesizer().speak(TEXT, voice=voice), first)


def test_speech_is_mono_16_bit_and_of_a_plausible_length():
    speech = Synthesizer().speak(TEXT, voice="en-us")
    assert speech.rate_hz == 22_050
    assert speech.samples.dtype == np.int16
    assert speech.samples.ndim == 1
    assert 2 < len(speech.samples) / speech.rate_hz < 6
    assert 8_000 < np.abs(speech.samples.astype(int)).max() <= 32_767


def test_every_word_has_its_start_in_order_of_the_text():
    speech = Synthesizer().speak(TEXT, voice="en-us")
    starts = [word.start_sample for word in speech.words]
    said = [word.text for word in speech.words]
    assert said == TEXT.split()
    assert starts == sorted(starts)
    assert starts[-1] < len(speech.samples)


def test_positions_count_characters_not_bytes():
    speech = Synthesizer().speak("Größe zählt für müde Bäcker.", voice="de")
    assert [word.text for word in speech.words] == ["Größe", "zählt", "für", "müde", "Bäcker."]


def test_voice_rate_and_pitch_are_heard():
    speak = Synthesizer().speak
    plain = speak(TEXT, voice="en-us")
    assert not same(speak(TEXT, voice="en-us+f3"), plain)
    assert not same(speak(TEXT, voice="en-us", pitch=90), plain)
    assert len(speak(TEXT, voice="en-us", rate_wpm=300).samples) < 0.8 * len(plain.samples)


def test_threads_take_turns():
    wanted = Synthesizer().speak(TEXT, voice="en-us")
    heard = []
    threads = [
        threading.Thread(target=lambda: heard.append(Synthesizer().speak(TEXT, voice="en-us")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 4
    assert all(same(speech, wanted) for speech in heard)


def test_speech_is_made_at_least_100_times_faster_than_real_time():
    synthesizer, num_samples = Synthesizer(), 0
    start_s = time.process_time()
    for pitch in range(20, 60):
        num_samples += len(synthesizer.speak(TEXT, voice="en-us", pitch=pitch).samples)
    assert num_samples / 22_050 > 100 * (time.process_time() - start_s)


@pytest.mark.parametrize("text", ["", "  \n", "a\0b"])
def test_a_text_that_can_not_be_said_is_refused(text):
    with pytest.raises(ValueError, match="text must be"):
        Synthesizer().speak(text, voice="en")


@pytest.mark.parametrize("voice", ["xx-nowhere", "en+nobody", "en-us+../../phontab", ""])
def test_an_unknown_voice_or_variant_is_refused(voice):
    with pytest.raises(ValueError, match="voice must"):
        Synthesizer().speak(TEXT, voice=voice)


@pytest.mark.parametrize(("name", "value"), [("rate_wpm", 10), ("rate_wpm", 900), ("pitch", 100)])
def test_a_rate_or_pitch_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        Synthesizer().speak(TEXT, voice="en", **{name: value})


def test_missing_data_is_named(tmp_path):
    with pytest.raises(ModelError, match="phontab: this file of espeak-ng is missing"):
        Synthesizer(data=tmp_path)


def test_data_that_espeak_can_not_read_is_an_error(tmp_path):
    (tmp_path / "phontab").write_bytes(b"not a phoneme table")
    with pytest.raises(ModelError, match="espeak-ng must find its data here"):
        Synthesizer(data=tmp_path).speak(TEXT, voice="en")
