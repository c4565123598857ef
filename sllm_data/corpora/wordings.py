"""The words by which tables name genders and splits, as those of our records."""

import re

_GENDERS = {
    "female": {"female", "f", "woman", "female_feminine"},
    "male": {"male", "m", "man", "male_masculine"},
    None: {"unknown", "unspecified", "do_not_wish_to_say", "none", "n/a", "na"},
}
_SPLITS = {
    "train": {"train", "training"},
    "validation": {"validation", "valid", "val", "dev", "devel", "development"},
    "test": {"test", "testing", "eval", "evaluation"},
}


def gender_of(word: str | None) -> str | None:
    """Returns female, male or other; None where the word says that nobody knows.

    >>> gender_of("M"), gender_of("non-binary"), gender_of("unknown")
    ('male', 'other', None)
    """
    if word is None:
        return None
    found = word.strip().lower()
    return next((gender for gender, words in _GENDERS.items() if found in words), "other")


def split_of(name: str) -> str | None:
    """Returns train, validation or test by the first word of a split's name, None for others.

    >>> split_of("dev-clean"), split_of("train.100"), split_of("other")
    ('validation', 'train', None)
    """
    first = re.split(r"[^a-z]", name.strip().lower(), maxsplit=1)[0]
    return next((split for split, words in _SPLITS.items() if first in words), None)
