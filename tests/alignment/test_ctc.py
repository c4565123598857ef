"""A CTC model on a language of tones, in which every boundary is known (`tone_model`)."""

import numpy as np
import pytest
import torch
from tone_model import RATE_HZ, random_words, tones, write_tone_model

from sllm_data.alignment.aligner import Aligner, Spoken
from sllm_data.alignment.config import AlignmentConfig
from sllm_data.alignment.ctc import CtcAligner
from sllm_data.alignment.timing import NotAlignedError
from sllm_data.audio.decode import DecodedClip
from sllm_data.errors import ModelError
from sllm_data.records import Reason


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tones"
    write_tone_model(folder)
    return str(folder)


@pytest.fixture(scope="module")
def aligner(model):
    return CtcAligner(model)


def spoken(words, samples):
    clip = DecodedClip(samples=samples[:, None], sampling_rate=RATE_HZ, codec="tones")
    return Spoken(
        name="u",
        transcript=" ".join(words),
        language="xx",
        sampling_rate=RATE_HZ,
        num_samples=len(samples),
        decoded=lambda: clip,
    )


def test_words_are_where_they_sound(aligner):
    rng, errors = np.random.default_rng(1), []
    for _ in range(20):
        words = random_words(rng)
        samples, places = tones(words, rng)
        for timing, (start, end) in zip(aligner.align(samples, words), places, strict=True):
            errors += [timing.start_s - start / RATE_HZ, timing.end_s - end / RATE_HZ]
            assert timing.confidence > 0.5
    assert np.median(np.abs(errors)) <= 0.02
    assert np.max(np.abs(errors)) <= 0.1


def test_other_words_are_found_by_their_score(model):
    rng = np.random.default_rng(2)
    config = AlignmentConfig(backend="ctc", ctc_model=model)
    sure = Aligner(config, None)
    reasons = []
    for _ in range(10):
        samples, _ = tones(["abc", "def"], rng)
        assert sure.align(spoken(["abc", "def"], samples)).backend == "ctc"
        with pytest.raises(NotAlignedError) as caught:
            sure.align(spoken(["fa", "ebdc"], samples))
        reasons.append(caught.value.reason)
    assert set(reasons) == {Reason.LOW_CONFIDENCE}


def test_case_and_marks_do_not_matter_and_a_word_without_letters_has_no_time(aligner):
    samples, _ = tones(["ab", "cd"], np.random.default_rng(3))
    plain = aligner.align(samples, ["ab", "cd"])
    marked = aligner.align(samples, ["Ab, ", "-- ", "(CD)!"])
    assert [marked[0], marked[2]] == plain
    assert marked[1] is None


def test_units_may_be_characters_without_spaces(aligner):
    samples, [(start, _)] = tones(["abc"], np.random.default_rng(4))
    letter = 0.12
    times = aligner.align(samples, ["a", "b", "c"])
    found = [timing.start_s - start / RATE_HZ for timing in times]
    assert found == pytest.approx([0, letter, 2 * letter], abs=0.04)


def test_a_clip_too_short_for_its_letters_is_told_apart(aligner):
    samples, _ = tones(["ab"], np.random.default_rng(5))
    with pytest.raises(NotAlignedError, match="need at least") as caught:
        aligner.align(samples, ["abcdef"] * 40)
    assert caught.value.reason is Reason.SHORTER_THAN_TRANSCRIPT


def test_words_that_the_model_cannot_spell_are_told(aligner):
    samples, _ = tones(["ab"], np.random.default_rng(6))
    with pytest.raises(NotAlignedError, match="can spell"):
        aligner.align(samples, ["xyz", "123"])


def test_the_same_clip_is_aligned_alike_whatever_came_before(aligner, model):
    rng = np.random.default_rng(7)
    one, two = tones(["abc"], rng)[0], tones(["fed", "cba"], rng)[0]
    aligner.align(two, ["fed", "cba"])
    with torch.random.fork_rng():
        torch.manual_seed(9)
        assert aligner.align(one, ["abc"]) == CtcAligner(model).align(one, ["abc"])


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "vocab.json"])
def test_an_incomplete_folder_is_told(model, tmp_path, missing):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / missing).unlink()
    with pytest.raises(ModelError, match=r"alignment\.ctc_model"):
        CtcAligner(str(broken))


def test_a_language_is_eligible_where_the_model_knows_it(model):
    config = AlignmentConfig(backend="auto", ctc_model=model, ctc_languages=("de", "pt-BR"))
    chooser = Aligner(config, None)
    assert [chooser.is_eligible(code) for code in ("de", "de-AT", "pt", "fr", "en")] == [
        True,
        True,
        True,
        False,
        True,  # pocketsphinx knows it
    ]
    assert Aligner(AlignmentConfig(backend="ctc", ctc_model=model), None).is_eligible("fr")
    assert not Aligner(AlignmentConfig(backend="pocketsphinx"), None).is_eligible("fr")
