import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import ConfigError
from sllm_data.prompting.preparation import PREPARATIONS, check_restored, prepare

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))
HEARD = "HE SAID DON'T GO THERE MISTER DARCY"
RESTORED = "He said, \u201cDon\u2019t go there, Mister Darcy.\u201d"


def test_as_read_takes_off_outer_space_only():
    assert prepare("  HE  said\t\u201cno\u201d \n", how="as_read", language="en") == (
        "HE  said\t\u201cno\u201d"
    )


@pytest.mark.parametrize(
    ("language", "transcript", "lowered"),
    [
        ("en", "I WENT TO ISTANBUL", "i went to istanbul"),
        ("tr", "IŞIK İKİ I\u0307Kİ", "ışık iki iki"),
        ("tr-TR", "ISPARTA", "ısparta"),
        ("az", "QIZIL", "qızıl"),
        ("de", "GROSSE STRASSE", "grosse strasse"),
        ("el", "ΟΔΟΣ", "οδος".replace("σ", "ς")),
        ("zh-CN", "OK 你好", "ok 你好"),
    ],
)
def test_lower_knows_the_language(language, transcript, lowered):
    assert prepare(transcript, how="lower", language=language) == lowered


@pytest.mark.parametrize(
    ("language", "transcript", "normalised"),
    [
        ("en", "Mr. Brown paid twenty five dollars, didn't he?",
         "mister brown paid $25 did not he"),
        ("en-US", "the colour", "the color"),
        ("de", "Größe, bitte!", "größe bitte"),
        ("hi", "हिन्दी में।", "हिन्दी में"),
        ("ta", "தமிழ் மொழி!", "தமிழ் மொழி"),
        ("tr", "IŞIK!", "ışık"),
        ("en", "(laughs) [noise]", ""),
        ("de", "...", ""),
    ],
)  # fmt: skip
def test_whisper_normalises_and_keeps_vowel_signs(language, transcript, normalised):
    assert prepare(transcript, how="whisper", language=language) == normalised


@pytest.mark.parametrize("how", ["restored", "upper", ""])
def test_what_is_not_made_here_is_refused(how):
    with pytest.raises(ConfigError, match="how must be"):
        prepare("text", how=how, language="en")


@given(ANY_TEXT, st.sampled_from(PREPARATIONS[:3]), st.sampled_from(["en", "tr", "zh-CN", ""]))
def test_any_text_can_be_prepared_and_has_no_outer_space(text, how, language):
    prepared = prepare(text, how=how, language=language)
    assert prepared == prepared.strip()


@given(ANY_TEXT)
def test_preparing_twice_as_read_changes_nothing(text):
    once = prepare(text, how="as_read", language="en")
    assert prepare(once, how="as_read", language="en") == once


@pytest.mark.parametrize(
    "answer",
    [
        RESTORED,
        f'"{RESTORED}"',
        f"**{RESTORED}**",
        f"Here is the restored transcript:\n\n{RESTORED}",
        f"Restored transcript: {RESTORED}",
        f"```\n{RESTORED}\n```",
        f"{RESTORED}\n\nNote: I added quotation marks.",
        f"  {RESTORED}  ",
    ],
)
def test_a_restored_transcript_is_found_in_what_the_backbone_wrote(answer):
    assert check_restored(HEARD, answer, language="en") == RESTORED


@pytest.mark.parametrize(
    "answer",
    [
        "He said, don't go there, Mr. Darcy.",
        "He said, do not go there, Mister Darcy.",
        "He said, don't go, Mister Darcy.",
        "He said, don't go there, Mister Darcy, please.",
        "He said don't go there Mister Darcy 😀",
        "He said don't go there Mister Darcy <|",
        "He said don't go there Mister\x00 Darcy",
        "",
        "Sure!",
    ],
)
def test_changed_words_and_new_symbols_are_refused(answer):
    assert check_restored(HEARD, answer, language="en") is None


def test_words_may_change_as_far_as_is_allowed():
    answer = "He said, don't go there, Mr. Darcy."
    assert check_restored(HEARD, answer, language="en", max_changed_words=1) == answer
    shorter = "He said, don't go, Mr. Darcy."
    assert check_restored(HEARD, shorter, language="en", max_changed_words=1) is None
    assert check_restored(HEARD, shorter, language="en", max_changed_words=2) == shorter
    assert check_restored(HEARD, RESTORED, language="en", max_changed_words=2) == RESTORED


@pytest.mark.parametrize(
    ("language", "original", "answer", "restored"),
    [
        ("zh-CN", "你是有能力的不是吗", "「你是有能力的，不是吗？」", "你是有能力的，不是吗？"),
        ("tr", "IŞIK ISTEDI", "Işık ıstedı.", "Işık ıstedı."),
        ("th", "มันจะเกิดขึ้น ในวันอังคาร", "มันจะเกิดขึ้นในวันอังคาร", "มันจะเกิดขึ้นในวันอังคาร"),
        ("hi", "क्या तुम आओगे", "क्या तुम आओगे?", "क्या तुम आओगे?"),
        ("en", "side tap side tap", "Side-tap, side-tap.", "Side-tap, side-tap."),
        ("en", '"No" he said "no"', '"No," he said, "no."', '"No," he said, "no."'),
        ("en", "it costs $5", "It costs $5.", "It costs $5."),
    ],
)
def test_restoring_works_in_other_scripts(language, original, answer, restored):
    assert check_restored(original, answer, language=language) == restored


def test_a_turkish_i_that_became_another_letter_is_a_change():
    assert check_restored("ılık", "Ilık", language="tr") == "Ilık"
    assert check_restored("ılık", "İlik", language="tr") is None


def test_nothing_can_be_restored_from_no_words():
    assert check_restored("...", "...", language="en") is None


@given(ANY_TEXT, ANY_TEXT)
def test_no_answer_breaks_the_check(original, restored):
    result = check_restored(original, restored, language="en", max_changed_words=1)
    assert result is None or "\n" not in result


@pytest.mark.real_speech
def test_real_sentences_are_restored_from_their_lower_case_without_marks(real_speech: Path):
    for table in sorted(real_speech.glob("common_voice/*/*/validated.tsv")):
        locale = table.parent.name
        with table.open(encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
                sentence = row["sentence"]
                plain = prepare(sentence, how="lower", language=locale).rstrip(".?!。")
                assert check_restored(plain, sentence, language=locale) is not None, sentence


def test_a_number_that_the_normaliser_can_not_read_leaves_nothing():
    assert prepare("call " + "9" * 5_000, how="whisper", language="en") == ""
