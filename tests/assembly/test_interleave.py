"""Cutting utterances into speech and text: what holds of every cut, and what each policy does."""

import gzip
import random
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from sllm_data.assembly.config import InterleaveConfig
from sllm_data.assembly.interleave import UninterleavableError, interleave, speech_share
from sllm_data.assembly.pieces import pieces_of
from sllm_data.records import AlignedWord
from sllm_data.seeding import rng_for

RATE = 16_000
POLICIES = ("word", "span", "poisson", "alternate", "sentence_range")
SENTENCES = (
    "The ship came in at noon. Nobody had seen it for a year, or heard of it. Its captain "
    "said that there was no wind! He asked for water, bread and salt. Then he slept? They let him."
)


def aligned(texts, *, word_s=0.3, pause_s=0.0, lead_s=0.3):
    """Words of `word_s` with pauses between, and the samples of their clip."""
    words, at = [], lead_s
    for number, text in enumerate(texts):
        last = number == len(texts) - 1
        words.append(
            AlignedWord(
                text=text if last else f"{text} ",
                start_sample=round(at * RATE),
                num_samples=round(word_s * RATE),
                confidence=0.5,
            )
        )
        at += word_s + pause_s
    return words, round((at + lead_s) * RATE)


def cut(shown, seed=0, words=None, **fields):
    words, num_samples = aligned(shown.split()) if words is None else words
    pieces = pieces_of(words, shown, num_samples)
    config = InterleaveConfig(chance=1, **fields)
    rng = random.Random(seed)
    return pieces, interleave(pieces, rate=RATE, config=config, rng=rng)


texts = st.lists(
    st.text(alphabet="abcde'.,!?-", min_size=1, max_size=9), min_size=1, max_size=60
).map(" ".join)


@given(
    shown=texts,
    policy=st.sampled_from(POLICIES),
    share=st.floats(0.1, 0.9),
    word_s=st.floats(0.05, 0.8),
    pause_s=st.sampled_from([0.0, 0.05, 0.3]),
    seed=st.integers(0, 9),
)
def test_stretches_are_the_whole_transcript_once_and_no_audio_overlaps(
    shown, policy, share, word_s, pause_s, seed
):
    words = aligned(shown.split(), word_s=word_s, pause_s=pause_s)
    given_ = {"policy": policy, "speech_share": share, "words": words}
    try:
        pieces, stretches = cut(shown, seed, **given_)
    except UninterleavableError:
        assume(False)
        return
    assert "".join(piece.text for piece in pieces) == shown
    assert [s.first for s in stretches] == [0, *(s.end for s in stretches[:-1])]
    assert stretches[-1].end == len(pieces)
    assert all(a.heard != b.heard for a, b in pairwise(stretches))
    assert {s.heard for s in stretches} == {True, False}
    heard = [
        (pieces[s.first].start_sample, pieces[s.end - 1].end_sample) for s in stretches if s.heard
    ]
    assert all(end - start >= RATE for start, end in heard)
    assert all(a[1] <= b[0] for a, b in pairwise(heard))
    assert 0 < speech_share(pieces, stretches) < 1
    assert cut(shown, seed, **given_) == (pieces, stretches)


@given(shown=texts, word_s=st.floats(0.05, 0.8), pause_s=st.floats(0, 0.5))
def test_pieces_are_the_clip_from_end_to_end(shown, word_s, pause_s):
    words, num_samples = aligned(shown.split(), word_s=word_s, pause_s=pause_s)
    pieces = pieces_of(words, shown, num_samples)
    assert pieces[0].start_sample == 0
    assert pieces[-1].end_sample == num_samples
    assert all(a.end_sample == b.start_sample for a, b in pairwise(pieces))
    assert sum(piece.num_words for piece in pieces) == len(words)


def test_a_cut_is_amid_the_pause_between_two_words():
    words, num_samples = aligned(["one", "two"], word_s=0.5, pause_s=0.4, lead_s=0.1)
    first, second = pieces_of(words, "one two", num_samples)
    assert first.end_sample == second.start_sample == round(0.8 * RATE)
    assert second.pause_samples == round(0.4 * RATE)


def test_restored_marks_and_case_are_read_and_digits_are_cut_around():
    words, num_samples = aligned(["it", "was", "twenty", "one", "o'clock", "then"])
    pieces = pieces_of(words, "It was 21 o'clock \u2014 then.", num_samples)
    assert [(piece.text, piece.num_words) for piece in pieces] == [
        ("It ", 1),
        ("was 21 o'clock \u2014 ", 4),
        ("then.", 1),
    ]


def test_text_of_other_words_is_one_piece():
    words, num_samples = aligned(["alpha", "beta"])
    assert len(pieces_of(words, "gamma delta", num_samples)) == 1


@pytest.fixture(scope="module")
def real_pieces(real_speech):
    """The pieces of real transcripts with pauses at chance, by name."""
    path = real_speech / "manifests/librispeech/train-clean-100.tsv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1::60]
    found = {}
    for name, duration, _, _, text in rows:
        texts, rng = text.split(), random.Random(name)
        pauses = [0.3 * (rng.random() < 0.15) for _ in texts]
        speech_s = max(float(duration) - 0.8 - sum(pauses), 0.1 * len(texts))
        per_letter = speech_s / sum(len(each) + 1 for each in texts)
        words, at = [], 0.4
        for each, pause_s in zip(texts, pauses, strict=True):
            length = per_letter * (len(each) + 1)
            words.append(
                AlignedWord(
                    text=f"{each} ",
                    start_sample=round(at * RATE),
                    num_samples=max(1, round(length * RATE)),
                    confidence=None,
                )
            )
            at += length + pause_s
        found[name] = pieces_of(words, f"{text} ", round((at + 0.4) * RATE))
    return found


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("policy", ["word", "span", "poisson"])
def test_the_share_of_speech_is_met_in_the_mean_on_real_lengths(real_pieces, policy, share):
    config = InterleaveConfig(chance=1, policy=policy, speech_share=share)
    shares = []
    for name, pieces in real_pieces.items():
        try:
            stretches = interleave(
                pieces, rate=RATE, config=config, rng=rng_for(1, "interleave", name)
            )
        except UninterleavableError:
            continue
        shares.append(speech_share(pieces, stretches))
    assert len(shares) > 0.9 * len(real_pieces)
    assert sum(shares) / len(shares) == pytest.approx(share, abs=0.02)


def test_spans_are_as_long_as_asked():
    pieces, stretches = cut(" ".join("abcdefgh" for _ in range(200)), span_words=(6, 9))
    heard = [s.end - s.first for s in stretches if s.heard]
    assert len(heard) > 3
    assert all(6 <= length <= 9 + 5 for length in heard)  # a rest joins the last
    assert len(pieces) == 200


def test_words_are_cut_as_finely_as_the_shortest_stretch_allows():
    def stretches_of(policy):
        _, stretches = cut("word " * 99 + "word", policy=policy, speech_share=0.5)
        return sum(s.heard for s in stretches)

    assert stretches_of("word") > 1.5 * stretches_of("span")


def test_a_border_moves_to_a_pause_beside_it():
    words, at = [], 0.0
    for number in range(60):
        words.append(
            AlignedWord(
                text="word ", start_sample=round(at * RATE), num_samples=4_800, confidence=None
            )
        )
        at += 0.3 + (0.25 if number % 3 == 2 else 0.0)
    pieces, stretches = cut("word " * 60, words=(words, round(at * RATE)))
    borders = [s.first for s in stretches[1:]]
    assert borders
    assert all(pieces[border].pause_samples == 4_000 for border in borders)


def test_turns_alternate_by_words():
    for seed in range(4):
        pieces, stretches = cut("w " * 29 + "w", seed, policy="alternate", alternate=(7, 4))
        lengths = [(s.heard, s.end - s.first) for s in stretches[:-1]]
        assert set(lengths) == {(True, 7), (False, 4)}
        assert len(pieces) == 30


def test_turns_alternate_by_sentences():
    pieces, stretches = cut(SENTENCES, policy="alternate", alternate="sentences")
    assert len(stretches) >= 3
    assert all(pieces[s.end - 1].ends_sentence for s in stretches)


def test_a_range_of_sentences_is_heard_as_a_whole():
    seen = set()
    for seed in range(20):
        pieces, stretches = cut(SENTENCES, seed, policy="sentence_range")
        (heard,) = [s for s in stretches if s.heard]
        assert heard.first == 0 or pieces[heard.first - 1].ends_sentence
        assert pieces[heard.end - 1].ends_sentence
        seen.add((heard.first, heard.end))
    assert len(seen) > 5


@pytest.mark.parametrize(
    ("shown", "fields", "says"),
    [
        ("one", {}, "1 words must be 1 s or more"),
        ("one two three", {"speech_share": 0.2}, "3 words must be 1 s or more"),
        ("no marks at all here", {"policy": "sentence_range"}, "1 sentences must be two or more"),
        ("no marks at all", {"policy": "alternate", "alternate": "sentences"}, "one of text"),
        ("one two", {"policy": "alternate", "min_audio_s": 9.0}, "a turn of speech"),
    ],
)
def test_an_utterance_that_cannot_be_both_is_told(shown, fields, says):
    with pytest.raises(UninterleavableError, match=says):
        cut(shown, **fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"span_words": (5, 4)}, "span_words must be"),
        ({"alternate": (0, 4)}, "alternate must be"),
        ({"speech_share": 1.0}, "less than 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        InterleaveConfig(**fields)
