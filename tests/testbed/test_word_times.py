"""Word times against the signal: espeak-ng's own word events fail most of these."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.testbed.clips import Clip, speak_clip
from sllm_data.testbed.events import dialogue, endless_stories
from sllm_data.testbed.sentences import LANGUAGES, sentences
from sllm_data.testbed.speech import Speech, Synthesizer, Word
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES, Voice, cast
from sllm_data.units import Hertz

VOICES = st.sampled_from(WORLD_VOICES + HELD_OUT_VOICES)
STORIES = st.integers(0, 10_000).map(lambda seed: next(endless_stories(seed=seed)).text)
TURNS = st.integers(0, 10_000).map(lambda number: dialogue(seed=1, number=number)[-1].text)


def speak(text: str, voice: Voice = WORLD_VOICES[0]) -> Speech:
    return Synthesizer().speak(text, voice=voice.name, rate_wpm=voice.rate_wpm, pitch=voice.pitch)


def peak(samples: np.ndarray) -> int:
    return int(np.abs(samples.astype(int)).max(initial=0))


def between(speech: Speech) -> np.ndarray:
    """The signal with all words silenced."""
    rest = speech.samples.copy()
    for word in speech.words:
        rest[word.start_sample : word.end_sample] = 0
    return rest


def assert_in_order(words: tuple[Word, ...], text: str, num_samples: int) -> None:
    assert [word.text for word in words] == text.split()
    borders = [border for word in words for border in (word.start_sample, word.end_sample)]
    assert borders == sorted(borders)
    assert borders[0] >= 0
    assert borders[-1] <= num_samples


@settings(max_examples=25)
@given(STORIES | TURNS, VOICES)
def test_every_word_has_one_interval_in_order_of_at_least_40_ms(text, voice):
    speech = speak(text, voice)
    assert_in_order(speech.words, text, len(speech.samples))
    shortest = min(word.end_sample - word.start_sample for word in speech.words)
    assert shortest >= 0.04 * speech.rate_hz


@settings(max_examples=25)
@given(STORIES | TURNS, VOICES)
def test_nothing_sounds_outside_the_words(text, voice):
    assert peak(between(speak(text, voice))) == 0


@settings(max_examples=25)
@given(STORIES, VOICES)
def test_words_begin_and_end_with_sound(text, voice):
    speech = speak(text, voice)
    for word in speech.words:
        own = speech.samples[word.start_sample : word.end_sample]
        assert own[0]
        assert own[-1]
        assert peak(own) > 2_000


@pytest.mark.parametrize("language", LANGUAGES)
def test_punctuated_sentences_have_a_time_for_every_word(language):
    for text, voice in zip(
        sentences(language, 40, seed=1), cast(language, 40, first=0, seed=1), strict=True
    ):
        speech = speak(text, voice)
        assert_in_order(speech.words, text, len(speech.samples))


@pytest.mark.parametrize(
    "text", ["it was in the park", "anna rested on the beach", "he said that the end was a joke"]
)
def test_pairs_that_espeak_takes_for_one_word_are_two(text):
    said = [word.text for word in speak(text).words]
    assert said == text.split()


@pytest.mark.parametrize("before", ["anna rested", "paul sang and felt sad on"])
@pytest.mark.parametrize(("first", "second"), [("friday", "thursday"), ("friday", "sunday")])
def test_a_start_is_the_very_sample_from_which_the_word_sounds(before, first, second):
    # fricatives are alike in all that comes before them, so up to the word all is the same
    one, other = (speak(f"{before} {day}") for day in (first, second))
    length = min(len(one.samples), len(other.samples))
    changed = np.flatnonzero(one.samples[:length] != other.samples[:length])[0]
    assert one.words[:-1] == other.words[:-1]
    assert one.words[-1].start_sample == other.words[-1].start_sample == changed


def test_a_sonorant_before_a_vowel_belongs_to_its_own_word():
    # espeak-ng puts its word event at the start of the n of `garden`, 60 ms early
    joined, apart = (
        {word.text.strip(","): word for word in speak(text).words}
        for text in ("anna rested in the garden on monday", "anna rested in the garden, on monday")
    )
    lengths = [
        words["garden"].end_sample - words["garden"].start_sample for words in (joined, apart)
    ]
    assert lengths[0] > 0.6 * lengths[1]
    assert joined["garden"].end_sample == joined["on"].start_sample


@settings(max_examples=20)
@given(STORIES, VOICES, st.sampled_from([8_000, 16_000, 32_000, 48_000]))
def test_resampling_moves_the_times_with_the_signal(text, voice, rate_hz):
    clip = speak_clip(Synthesizer(), text, voice, Hertz(rate_hz))
    assert_in_order(clip.words, text, len(clip.samples))
    for word in clip.words:
        assert peak(_of(clip, word)) > 1_000
    for before, after in zip(clip.words, clip.words[1:], strict=False):
        # a few samples around a border ring
        edge = rate_hz // 1_000
        pause = clip.samples[before.end_sample + edge : after.start_sample - edge]
        assert peak(pause) < 0.05 * peak(clip.samples)


def _of(clip: Clip, word: Word) -> np.ndarray:
    return clip.samples[word.start_sample : word.end_sample]
