from pathlib import Path

import pocketsphinx
import pytest

from sllm_data.alignment.pronunciation import pronounce

DICTIONARY = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))


def test_words_sound_as_in_the_dictionary_where_both_know_them():
    words = ["go", "stop", "make", "hand", "see", "three", "ship", "church", "judge", "yes"]
    rows = (line.split(maxsplit=1) for line in DICTIONARY.read_text().splitlines())
    known = {word: sounds.strip() for word, sounds in rows if word in words}
    assert dict(zip(words, pronounce(words), strict=True)) == known


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("10", "T EH N"),
        ("Mr.", "M IH S T ER"),
        ("it's", "IH T S"),
        ("x-ray", "EH K S R EY"),
        ("\u2014", ""),
    ],
)
def test_numbers_and_abbreviations_are_read_out(word, sounds):
    assert pronounce([word]) == [sounds]


def test_every_sound_is_one_of_the_models():
    lines = DICTIONARY.read_text().splitlines()
    alphabet = {sound for line in lines for sound in line.split()[1:]}
    rare = ["quickeneth", "zarathustra", "croissants", "jalapenos", "burning", "\u6c49", "\u014b"]
    words = [line.split()[0] for line in lines][::500] + rare
    assert {sound for said in pronounce(words) for sound in said.split()} <= alphabet
