"""What becomes of times that somebody found: placed in samples, joined, judged."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sllm_data.alignment.aligner import Aligner, Spoken, weakest_stretch
from sllm_data.alignment.config import AlignmentConfig
from sllm_data.alignment.imports import collect_word_times
from sllm_data.alignment.timing import NotAlignedError
from sllm_data.records import AlignedWord, Reason

RATE = 16_000


def aligned(tmp_path: Path, transcript: str, ctm: str, *, duration_s: float = 3.0, **fields):
    source = tmp_path / "times.ctm"
    source.write_text(ctm, encoding="utf-8")
    config = AlignmentConfig(backend="files", files=source, **fields)
    collect_word_times(source, tmp_path / "times.sqlite", tier=None)
    spoken = Spoken(
        name="a/u1",
        transcript=transcript,
        language="xx",
        sampling_rate=RATE,
        num_samples=round(duration_s * RATE),
        decoded=lambda: pytest.fail("imported times need no audio"),
    )
    return Aligner(config, tmp_path / "times.sqlite").align(spoken)


def word(seconds: float, confidence: float | None, text: str = "w ") -> AlignedWord:
    return AlignedWord(
        text=text, start_sample=0, num_samples=round(seconds * RATE), confidence=confidence
    )


def test_imported_times_become_samples_of_the_clip(tmp_path):
    found = aligned(tmp_path, "Go \u2014 on.", "u1 1 0.5 0.25 go 0.9\nu1 1 1.0 0.5 on 0.8\n")
    assert [(w.text, w.start_sample, w.num_samples) for w in found.words] == [
        ("Go \u2014 ", 8_000, 4_000),
        ("on.", 16_000, 8_000),
    ]
    assert (found.backend, found.confidence) == ("files", pytest.approx(0.832, abs=0.01))


def test_a_mark_in_front_belongs_to_the_first_word(tmp_path):
    found = aligned(tmp_path, "\u2026 go", "u1 1 0.5 0.25 go\n")
    assert [w.text for w in found.words] == ["\u2026 go"]
    assert found.confidence is None


def test_an_end_that_was_rounded_up_is_the_end_of_the_clip(tmp_path):
    found = aligned(tmp_path, "go", "u1 1 2.5 0.52 go\n")
    assert found.words[0].start_sample + found.words[0].num_samples == 3 * RATE


@pytest.mark.parametrize(
    "ctm",
    [
        "u1 1 0.5 0.0 go\nu1 1 1.0 0.5 on\n",
        "u1 1 0.5 0.7 go\nu1 1 1.0 0.5 on\n",
        "u1 1 0.5 0.2 go\nu1 1 2.8 0.5 on\n",
        "u1 1 -0.5 0.2 go\nu1 1 1.0 0.5 on\n",
        "u1 1 0.5 -0.2 go\nu1 1 1.0 0.5 on\n",
    ],
    ids=["zero length", "overlap", "behind the end", "before the start", "negative length"],
)
def test_times_that_cannot_be_are_told(tmp_path, ctm):
    with pytest.raises(NotAlignedError, match="must last a while between") as caught:
        aligned(tmp_path, "go on", ctm)
    assert caught.value.reason is Reason.BAD_WORD_TIMES


@pytest.mark.parametrize("number", ["nan", "inf", "1e400"])
def test_numbers_that_are_none_are_told(tmp_path, number):
    with pytest.raises(NotAlignedError) as caught:
        aligned(tmp_path, "go", f"u1 1 {number} 0.5 go\n")
    assert caught.value.reason is Reason.BAD_WORD_TIMES


def test_an_utterance_that_nobody_timed_is_told(tmp_path):
    with pytest.raises(NotAlignedError, match="must hold the word times of a/u1") as caught:
        aligned(tmp_path, "go", "u2 1 0.5 0.2 go\n")
    assert caught.value.reason is Reason.NOT_ALIGNED


def test_files_are_doubted_only_where_the_run_asks_for_it(tmp_path):
    ctm = "u1 1 0.5 0.2 go 0.01\n"
    assert aligned(tmp_path, "go", ctm).confidence == pytest.approx(0.01)
    with pytest.raises(NotAlignedError, match=r"by 0\.5 at least") as caught:
        aligned(tmp_path, "go", ctm, min_confidence=0.5)
    assert caught.value.reason is Reason.LOW_CONFIDENCE


def test_a_bad_stretch_weighs_and_a_mumbled_word_does_not():
    good, bad = word(0.5, 0.3), word(0.5, 0.001, "bad ")
    mumbled, _ = weakest_stretch([good] * 4 + [word(0.1, 0.001)] + [good] * 4, RATE)
    wrong, text = weakest_stretch([good] * 10 + [bad] * 5 + [good] * 10, RATE)
    assert mumbled is not None
    assert mumbled > 0.2
    assert wrong == pytest.approx(0.001)
    assert text == "bad bad bad bad"


@given(st.lists(st.tuples(st.floats(0.05, 3), st.floats(0.001, 1)), min_size=1, max_size=30))
def test_no_stretch_is_weaker_than_its_weakest_word_or_surer_than_all(words):
    found, _ = weakest_stretch([word(*each) for each in words], RATE)
    confidences = [confidence for _, confidence in words]
    assert found is not None
    assert min(confidences) - 1e-9 <= found <= max(confidences) + 1e-9


def test_without_confidences_there_is_nothing_to_doubt():
    assert weakest_stretch([word(1, None)], RATE) == (None, "")


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"backend": "files"}, "files must name"), ({"backend": "ctc"}, "ctc_model must name")],
)
def test_a_backend_needs_what_it_reads(fields, says):
    with pytest.raises(ValidationError, match=says):
        AlignmentConfig(**fields)
