import pytest

from sllm_data.corpora.wordings import gender_of, split_of


@pytest.mark.parametrize(
    ("word", "gender"),
    [
        ("Female", "female"),
        ("f", "female"),
        ("male_masculine", "male"),
        (" M ", "male"),
        ("non-binary", "other"),
        ("unknown", None),
        ("do_not_wish_to_say", None),
        (None, None),
    ],
)
def test_words_for_genders(word: str | None, gender: str | None) -> None:
    assert gender_of(word) == gender


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("train.100", "train"),
        ("train-clean-100", "train"),
        ("dev_other", "validation"),
        ("VALID", "validation"),
        ("test.clean", "test"),
        ("test2", "test"),
        ("trainee", None),
        ("other", None),
        ("", None),
    ],
)
def test_the_first_word_of_a_split_counts(name: str, split: str | None) -> None:
    assert split_of(name) == split
