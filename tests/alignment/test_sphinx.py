"""pocketsphinx on real and on synthesised speech."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sllm_data.alignment.aligner import Aligner, Spoken
from sllm_data.alignment.config import AlignmentConfig
from sllm_data.alignment.sphinx import SPHINX_RATE_HZ, SphinxAligner
from sllm_data.alignment.timing import NotAlignedError
from sllm_data.audio.decode import DecodedClip, decode
from sllm_data.records import Reason
from sllm_data.testbed.clips import speak_clip
from sllm_data.testbed.events import stories
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.voices import WORLD_VOICES


def librispeech(root: Path) -> Iterator[tuple[str, DecodedClip]]:
    for path in sorted(root.glob("librispeech/LibriSpeech/*/*/*/*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            audio = path.parent / f"{name}.flac"
            if audio.is_file():
                yield text, decode(audio.read_bytes())


def spoken(text: str, clip: DecodedClip) -> Spoken:
    return Spoken(
        name="u",
        transcript=text,
        language="en",
        sampling_rate=clip.sampling_rate,
        num_samples=len(clip.samples),
        decoded=lambda: clip,
    )


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner(AlignmentConfig(backend="pocketsphinx"), None)


@pytest.fixture(scope="module")
def clips(real_speech) -> list[tuple[str, DecodedClip]]:
    return list(librispeech(real_speech))


def test_nearly_all_of_librispeech_aligns_with_words_that_no_dictionary_has(aligner, clips):
    assert len(clips) > 50
    aligned = 0
    for text, clip in clips:
        try:
            words = aligner.align(spoken(text, clip)).words
        except NotAlignedError:
            continue
        assert "".join(word.text for word in words) == text
        assert words[-1].start_sample + words[-1].num_samples <= len(clip.samples)
        aligned += 1
    assert aligned >= 0.98 * len(clips)


def test_the_transcript_of_another_utterance_is_found_by_its_score(aligner, clips):
    texts = [text for text, _ in clips]
    long = [(text, clip) for text, clip in clips if len(clip.samples) > 4 * clip.sampling_rate]
    found = []
    for text, clip in long[::3]:
        # nearest in length, so that neither the search nor the clock gives it away
        other = min((t for t in texts if t != text), key=lambda t: abs(len(t) - len(text)))
        with pytest.raises(NotAlignedError) as caught:
            aligner.align(spoken(other, clip))
        found.append(caught.value.reason)
    assert set(found) <= {
        Reason.LOW_CONFIDENCE,
        Reason.NOT_ALIGNED,
        Reason.SHORTER_THAN_TRANSCRIPT,
    }
    assert Reason.LOW_CONFIDENCE in found


def test_what_was_aligned_before_does_not_matter(clips):
    (first, one), (second, two) = clips[:2]
    fresh = Aligner(AlignmentConfig(backend="pocketsphinx"), None)
    used = Aligner(AlignmentConfig(backend="pocketsphinx"), None)
    used.align(spoken(second, two))
    assert used.align(spoken(first, one)) == fresh.align(spoken(first, one))


def test_boundaries_of_synthesised_speech_are_right_within_50_ms():
    """Its word times are known to the sample (docs/testbed.md)."""
    aligner = Aligner(AlignmentConfig(backend="pocketsphinx", min_confidence=0), None)
    aligned, errors, synthesizer = 0, [], Synthesizer()
    for number, story in enumerate(stories(24, seed=5)):
        voice = WORLD_VOICES[number % len(WORLD_VOICES)]
        made = speak_clip(synthesizer, story.text, voice, SPHINX_RATE_HZ)
        clip = DecodedClip(
            samples=made.samples[:, None], sampling_rate=SPHINX_RATE_HZ, codec="synthetic"
        )
        try:
            words = aligner.align(spoken(story.text, clip)).words
        except NotAlignedError:
            continue
        aligned += 1
        for word, true in zip(words, made.words, strict=True):
            errors.append(word.start_sample - true.start_sample)
            errors.append(word.start_sample + word.num_samples - true.end_sample)
    assert aligned >= 20  # it is no human speech
    assert np.median(np.abs(errors)) <= 0.05 * SPHINX_RATE_HZ


def test_a_clip_too_short_for_its_words_is_told_apart():
    second = np.zeros(SPHINX_RATE_HZ, np.int16)
    with pytest.raises(NotAlignedError, match="must last at least") as caught:
        SphinxAligner().align(second, ["extraordinarily ", "unsatisfactory ", "circumstances"] * 3)
    assert caught.value.reason is Reason.SHORTER_THAN_TRANSCRIPT


def test_marks_alone_have_nothing_to_align():
    with pytest.raises(NotAlignedError, match="a word that sounds"):
        SphinxAligner().align(np.zeros(SPHINX_RATE_HZ, np.int16), ["\u2014 ", "\u2026"])
