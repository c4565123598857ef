import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.filtering.language import DEFAULT_LANGUAGES, detect_language, language_code
from sllm_data.words import size_in_letters, words


def common_voice_sentences(real_speech: Path) -> Iterator[tuple[str, str]]:
    for table in sorted(real_speech.glob("common_voice/*/*/validated.tsv")):
        with table.open(encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield table.parent.name, row["sentence"]


@pytest.mark.parametrize(
    ("locale", "code"),
    [
        ("en", "en"), ("zh-CN", "zh"), ("zh-TW", "zh"), ("zh-HK", "zh"), ("pt-BR", "pt"),
        ("pt_PT", "pt"), ("sv-SE", "sv"), ("ga-IE", "ga"), ("pa-IN", "pa"), ("nb-NO", "nb"),
        ("no", "nb"), ("iw", "he"), ("cmn", "zh"), ("deu", "de"), ("EN-us", "en"),
        ("ab", None), ("rm-sursilv", None), ("", None), ("x", None),
    ],
)  # fmt: skip
def test_locales_become_codes(locale, code):
    assert language_code(locale) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("What he said about the weather was not quite right.", "en"),
        ("Am nächsten Tag traf der Junge den alten Mann.", "de"),
        ("贝弗利大教堂是位于英国的一座教堂。", "zh"),
        ("日本人はおはしを使って、ごはんを食べます。", "ja"),
        ("มันจะเกิดขึ้นในวันอังคาร", "th"),
        ("Το αγόρι συνάντησε τον γέρο.", "el"),
        ("소년은 정오에 노인을 만났다.", "ko"),
    ],
)
def test_sentences_are_told_apart(text, code):
    found, confidences = detect_language(text)
    assert found == code
    assert confidences[code] > 0.9


def test_the_expected_language_joins_the_candidates():
    text = "Pojken träffade den gamle mannen vid lunchtid nästa dag."
    assert "sv" not in detect_language(text)[1]
    assert detect_language(text, expected="sv-SE")[0] == "sv"
    assert detect_language(text, expected="ab")[1].keys() == set(DEFAULT_LANGUAGES)


def test_nothing_is_found_where_nothing_tells():
    found, confidences = detect_language("42 ... !")
    assert found is None
    assert set(confidences.values()) == {0.0}


def test_a_long_text_is_judged_by_both_its_ends():
    english = "The boy met the old man at noon. " * 20
    chinese = "第二天中午，男孩遇见了那位老人。" * 20
    assert detect_language(english + chinese)[1]["en"] < 0.9 or (
        detect_language(chinese + english)[1]["zh"] < 0.9
    )


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_can_be_judged_even_lone_surrogates(text):
    found, confidences = detect_language(text)
    assert found is None or found in DEFAULT_LANGUAGES
    assert all(0 <= value <= 1 for value in confidences.values())


@pytest.mark.real_speech
def test_real_sentences_of_sixteen_locales_are_in_their_own_language(real_speech):
    sentences = list(common_voice_sentences(real_speech))
    assert len({locale for locale, _ in sentences}) >= 16
    right = [detect_language(text)[0] == language_code(locale) for locale, text in sentences]
    assert sum(right) / len(right) >= 0.97
    long_enough = [
        is_right
        for is_right, (_, text) in zip(right, sentences, strict=True)
        if size_in_letters(words(text)) >= 20
    ]
    assert sum(long_enough) / len(long_enough) >= 0.99
