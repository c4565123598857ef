"""Word times that another program made, found by the name of the utterance.

All files are read once into a small database, since nobody knows which file an utterance
stands in: a CTM may hold a whole corpus, in any order.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path

from sllm_data.alignment.condensed import ENDING as CONDENSED
from sllm_data.alignment.condensed import condensed_words
from sllm_data.alignment.ctm import ENDING as CTM
from sllm_data.alignment.ctm import ctm_word
from sllm_data.alignment.textgrid import ENDING as TEXTGRID
from sllm_data.alignment.textgrid import textgrid_words
from sllm_data.alignment.timing import ForeignWord, NotAlignedError, Timing
from sllm_data.errors import CorpusError
from sllm_data.files import atomic_path, is_file, is_folder
from sllm_data.records import Reason

_Row = tuple[str, str, str, str | None]
"""Name of the utterance, file, its words as JSON, what is wrong with them."""


def collect_word_times(source: Path, database: Path, *, tier: str | None) -> None:
    """Reads all word times below a folder into a database.

    Args:
        source: A file, or a folder that is searched.
        database: Written whole or not at all.
        tier: See `textgrid_words`.

    Raises:
        CorpusError: There is no such file, nothing with word times in it, or a line of which
            not even the utterance can be told.
    """
    files = word_time_files(source)
    with atomic_path(database) as path, closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE times (name TEXT, file TEXT, words TEXT, problem TEXT)")
        for file in files:
            connection.executemany("INSERT INTO times VALUES (?, ?, ?, ?)", _rows(file, tier))
        connection.execute("CREATE INDEX by_name ON times (name)")
        connection.commit()


def word_time_files(source: Path) -> list[Path]:
    """Lists the files with word times: the source itself, or those below it.

    Raises:
        CorpusError: There is no such path, or nothing with word times in it.
    """
    source = source.expanduser()
    if is_file(source):
        found = [source] if _reader(source) else []
    elif is_folder(source):
        found = sorted(path for path in source.rglob("*") if _reader(path) and path.is_file())
    else:
        raise CorpusError(f"{source}: must be a file or folder with word times, no such path")
    if not found:
        raise CorpusError(
            f"{source}: must hold word times in files that end in {CONDENSED}, {TEXTGRID} or "
            f"{CTM}, found none"
        )
    return found


def _reader(path: Path) -> Callable[[Path, str | None], Iterator[_Row]] | None:
    for ending, reader in (
        (CONDENSED, _condensed_rows),
        (TEXTGRID, _textgrid_rows),
        (CTM, _ctm_rows),
    ):
        if path.name.lower().endswith(ending.lower()):
            return reader
    return None


def _rows(path: Path, tier: str | None) -> Iterator[_Row]:
    reader = _reader(path)
    return iter(()) if reader is None else reader(path, tier)


def _condensed_rows(path: Path, _: str | None) -> Iterator[_Row]:
    for where, line in _lines(path):
        try:
            name, words = condensed_words(line)
        except ValueError as error:
            yield _named(where, line), where, "[]", str(error)
        else:
            yield name, where, _as_json(words), None


def _textgrid_rows(path: Path, tier: str | None) -> Iterator[_Row]:
    name = path.name[: -len(TEXTGRID)]
    try:
        words = textgrid_words(path, tier)
    except ValueError as error:
        yield name, str(path), "[]", str(error)
    else:
        yield name, str(path), _as_json(words), None


def _ctm_rows(path: Path, _: str | None) -> Iterator[_Row]:
    """Yields one row for each run of lines about one recording."""

    def read() -> Iterator[tuple[str, ForeignWord | str]]:
        for where, line in _lines(path):
            try:
                found = ctm_word(line)
            except ValueError as error:
                yield _named(where, line), f"line {where.rpartition(':')[2]}: {error}"
            else:
                if found:
                    yield found

    for name, run in groupby(read(), key=lambda each: each[0]):
        words: list[ForeignWord] = []
        problems: list[str] = []
        for _, each in run:
            if isinstance(each, str):
                problems.append(each)
            else:
                words.append(each)
        yield name, str(path), _as_json(words), problems[0] if problems else None


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", line
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: must be UTF-8 text, {error}; convert the file") from error


def _named(where: str, line: str) -> str:
    name, *rest = line.split(maxsplit=1)
    if not rest:
        raise CorpusError(f"{where}: must begin with the name of an utterance, found {line!r}")
    return name


def _as_json(words: list[ForeignWord]) -> str:
    return json.dumps(
        [[w.text, w.timing.start_s, w.timing.end_s, w.timing.confidence] for w in words]
    )


class ImportedWords:
    """The word times of a database that `collect_word_times` wrote."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    def find(self, *names: str) -> list[ForeignWord] | None:
        """Returns the words of the first name that is known, by their starts; or None.

        Raises:
            NotAlignedError: What stands there can't be read, or stands in two files.
        """
        for name in names:
            rows = self._connection.execute(
                "SELECT file, words, problem FROM times WHERE name = ?", (name,)
            ).fetchall()
            if rows:
                return _merged(rows)
        return None


def _merged(rows: list[tuple[str, str, str | None]]) -> list[ForeignWord]:
    file, _, _ = rows[0]
    for other, _, problem in rows:
        if problem is not None:
            raise NotAlignedError(Reason.BAD_WORD_TIMES, f"{other}: {problem}")
        if other != file:
            raise NotAlignedError(
                Reason.BAD_WORD_TIMES,
                f"{file}: an utterance must stand in one file, it is in {other} as well",
            )
    words = [
        ForeignWord(text, Timing(start_s, end_s, confidence))
        for _, found, _ in rows
        for text, start_s, end_s, confidence in json.loads(found)
    ]
    return sorted(words, key=lambda word: word.timing.start_s)
