"""Lines of a text file as bytes, numbered, none of them longer than a bound.

What a line means, its encoding included, is the business of the tables and manifests.
"""

from collections.abc import Iterator
from typing import BinaryIO

MAX_LINE_BYTES = 1 << 20
"""A file without line feeds must not end up in memory."""

OVERLONG = f"a line must be shorter than {MAX_LINE_BYTES} bytes, this one is not"


def numbered_lines(file: BinaryIO, *, first: int = 1) -> Iterator[tuple[int, bytes | None]]:
    """Yields number and content of each line, without its end; None for one that is too long.

    A line ends at a line feed and nowhere else; a carriage return before it goes with it.
    """
    number = first
    while content := file.readline(MAX_LINE_BYTES):
        if len(content) == MAX_LINE_BYTES and not content.endswith(b"\n"):
            _skip_line(file)
            yield number, None
        else:
            yield number, content.removesuffix(b"\n").removesuffix(b"\r")
        number += 1


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass
