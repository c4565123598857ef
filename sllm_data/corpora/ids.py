"""Ids of a corpus as the last part of an audio_id: printable, and two never become one."""

from urllib.parse import quote

MAX_ID_CHARACTERS = 500


def as_id(text: str) -> str:
    """Returns the text fit for an audio_id.

    What is not printable, space and `%` are written as in an URL; slashes only where they do
    not just part names.

    >>> as_id("19/198-0000"), as_id("a b/../c")
    ('19/198-0000', 'a%20b%2F..%2Fc')
    """
    parts_names = all(name not in ("", ".", "..") for name in text.split("/"))
    kept = "/" if parts_names else ""
    return "".join(
        char if char in kept or _is_plain(char) else quote(char, safe="") for char in text
    )


def _is_plain(char: str) -> bool:
    return char.isprintable() and not char.isspace() and char not in "/%"
