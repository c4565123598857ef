"""What LibriSpeech says about its readers, chapters and books, in three text files.

SPEAKERS.TXT, CHAPTERS.TXT and BOOKS.TXT hold fields between bars and comments after
semicolons. Each may be missing. Only ids, sex and titles are kept; the names of the readers
are not needed and stay behind.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sllm_data.corpora.folders import readable
from sllm_data.errors import CorpusError

_SEXES = {"F": "female", "M": "male"}
_SPEAKER_FIELDS = 5
_CHAPTER_FIELDS = 7  # the last one holds both titles


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """One row of CHAPTERS.TXT."""

    title: str
    book_id: str
    book_title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LibriSpeechTables:
    """The tables that a LibriSpeech folder has; empty where it lacks one."""

    genders: Mapping[str, str]
    """female or male, by speaker id."""
    chapters: Mapping[str, Chapter]
    """By chapter id."""

    @classmethod
    def read(cls, root: Path) -> "LibriSpeechTables":
        """Reads the tables in a LibriSpeech folder.

        Raises:
            CorpusError: A line has too few fields, or a sex that is neither F nor M.
        """
        books = _books(root / "BOOKS.TXT")
        return cls(
            genders=_genders(root / "SPEAKERS.TXT"),
            chapters=_chapters(root / "CHAPTERS.TXT", books),
        )


def _genders(path: Path) -> dict[str, str]:
    genders = {}
    for line, text in _lines(path):
        fields = _fields(text, _SPEAKER_FIELDS)  # names hold bars: `|CBW|Simon`
        if len(fields) < _SPEAKER_FIELDS or fields[1] not in _SEXES:
            raise CorpusError(
                f"{path}: line {line} must be `id | F or M | subset | minutes | name`, "
                f"got {text[:80]!r}; get the file again from the archive, or remove it"
            )
        genders[fields[0]] = _SEXES[fields[1]]
    return genders


def _chapters(path: Path, books: Mapping[str, str]) -> dict[str, Chapter]:
    chapters = {}
    for line, text in _lines(path):
        fields = _fields(text, _CHAPTER_FIELDS)
        titles = fields[-1].rsplit("|", 1)
        if len(fields) < _CHAPTER_FIELDS or len(titles) < 2:  # noqa: PLR2004 - chapter and book
            raise CorpusError(
                f"{path}: line {line} must be `id | reader | minutes | subset | project | "
                f"book id | chapter title | book title`, got {text[:80]!r}; "
                "get the file again from the archive, or remove it"
            )
        book_id = fields[5]
        chapters[fields[0]] = Chapter(
            title=titles[0].strip(),
            book_id=book_id,
            book_title=books.get(book_id) or titles[1].strip(),
        )
    return chapters


def _books(path: Path) -> dict[str, str]:
    """Reads titles by book id; a line without a title says nothing and is passed over."""
    rows = (_fields(text, 3) for _, text in _lines(path))
    return {fields[0]: fields[1] for fields in rows if len(fields) > 1 and fields[1]}


def _fields(text: str, number: int) -> list[str]:
    return [part.strip() for part in text.split("|", number - 1)]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the numbered lines that are no comment; nothing where there is no file."""
    if not path.is_file():
        return
    with readable(path), path.open("rb") as table:
        for number, content in enumerate(table, start=1):
            # titles and names are decoration: a byte that is no UTF-8 must not stop a run
            text = content.decode("utf-8", "replace").strip()
            if text and not text.startswith(";"):
                yield number, text
