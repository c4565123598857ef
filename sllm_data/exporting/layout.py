"""What a layout is: which rows it holds, how they are written, what must be found afterwards."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from sllm_data.errors import ShardError
from sllm_data.exporting.clips import ClipFiles, ClipSource
from sllm_data.exporting.rows import Row
from sllm_data.files import is_file

Item = TypeVar("Item")
Json = dict[str, Any]  # Any: JSON values
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a layout writes, and what it may take from the dataset."""

    folder: Path
    stem: str
    """How its files begin: the split."""
    source: ClipSource
    rows_per_shard: int
    several_clips: bool
    """Whether any row has more than one clip."""
    mark: str
    """Of dataset and selection, for the names of files that readers keep copies of."""

    @property
    def files(self) -> ClipFiles:
        """Clips as files below the folder."""
        return ClipFiles(self.folder, self.source)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What was read back."""

    rows: int
    stretches: int
    """Places where speech is heard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The files of another trainer or library."""

    reader: str
    """Who reads it."""
    holds: Callable[[Row], object]
    """Raises UnheldError for a row that it has no room for; writes nothing."""
    write: Callable[[Iterable[Row], Target], None]
    """Writes rows that it holds, as they come."""
    check: Callable[[Path, str], Found]
    """Reads folder and stem back, and raises ShardError where it is not what it must be."""
    usage: str
    """How it is read: lines for the card, with {folder} and {stem}."""
    usage_of_several: str = ""
    """The same of rows with several clips, where that differs."""
    front: Callable[[str, str], Json] = lambda _stem, _mark: {}
    """The head of the card, by stem and mark."""


def sharded(items: Iterable[Item], size: int) -> Iterator[tuple[int, Iterator[Item]]]:
    """Yields the number of each shard and its items, at most `size`; each is to be used up.

    >>> [(number, list(items)) for number, items in sharded("abc", 2)]
    [(0, ['a', 'b']), (1, ['c'])]
    """
    groups = groupby(enumerate(items), key=lambda pair: pair[0] // size)
    for number, pairs in groups:
        yield number, (item for _, item in pairs)


def write_lines(path: Path, lines: Iterable[Json]) -> None:
    """Writes JSON objects, one a line, as UTF-8."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(as_json(line) + "\n")


def as_json(value: Json) -> str:
    """Returns JSON in one line, also for readers to whom more characters end one."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).translate(_LINE_ENDS)


def read_lines(path: Path) -> Iterator[tuple[str, Json]]:
    """Yields where each line of JSON stands, and what it says.

    Raises:
        ShardError: There is no such file, or a line is no JSON object.
    """
    check_is_file(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield f"{path}:{number}", parsed(line, f"{path}:{number}")


def read_json(path: Path) -> Json:
    """Returns the JSON object that a file holds.

    Raises:
        ShardError: There is no such file, or it holds something else.
    """
    check_is_file(path)
    return parsed(path.read_bytes(), str(path))


def check_is_file(path: Path) -> None:
    """Demands a file.

    Raises:
        ShardError: There is none.
    """
    if not is_file(path):
        raise ShardError(f"{path}: must be a file, there is none")


def parsed(text: str | bytes, where: str) -> Json:
    """Returns a JSON object.

    Raises:
        ShardError: It is none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ShardError(f"{where}: must be JSON, found: {error}") from error
    if not isinstance(found, dict):
        raise ShardError(f"{where}: must be a JSON object, found {type(found).__name__}")
    return found
