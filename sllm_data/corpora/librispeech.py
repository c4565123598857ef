"""LibriSpeech and corpora in its layout: `<subset>/<speaker>/<chapter>/*.trans.txt`.

Partial downloads are the normal case: each chapter on disk is read for what it has. A line
of a transcript without audio and audio without a line are rejections. The ids of LibriSpeech
speakers are public and stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sllm_data.corpora.config import LibriSpeechConfig, is_plain_name
from sllm_data.corpora.folders import (
    AUDIO_SUFFIXES,
    check_folder_inside,
    files_in,
    folders_in,
    named,
    printable,
    readable,
    why_unusable,
)
from sllm_data.corpora.librispeech_tables import LibriSpeechTables
from sllm_data.corpora.lines import OVERLONG, numbered_lines
from sllm_data.errors import CorpusError
from sllm_data.files import is_folder
from sllm_data.records import Candidate, Reason, Rejection, Source, Speaker

_TRANSCRIPT_SUFFIX = ".trans.txt"
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_STEP = "candidates"


def librispeech_root(path: Path) -> Path:
    """Returns the folder with the subsets: `path`, or the LibriSpeech folder in it."""
    path = path.expanduser()
    nested = path / "LibriSpeech"
    return nested if is_folder(nested) else path


def read_librispeech(config: LibriSpeechConfig, *, entry: int) -> Iterator[Candidate | Rejection]:
    """Lists the utterances of the chosen subsets, chapter by chapter.

    Folders and tables are checked before this returns; memory holds one chapter.

    Raises:
        CorpusError: The folder or a subset is missing or empty, or a table is malformed.
    """
    root = librispeech_root(config.path)
    subsets = _subsets(root, config)
    reader = _Reader(
        root=root,
        entry=entry,
        source=Source(
            corpus=config.name or config.kind,
            version=config.version,
            licence=config.licence,
            attribution=config.attribution,
        ),
        tables=LibriSpeechTables.read(root),
    )
    return (row for subset in subsets for row in reader.read(subset))


def _subsets(root: Path, config: LibriSpeechConfig) -> list[str]:
    if not is_folder(root):
        raise CorpusError(f"{root}: must be the LibriSpeech folder, no such folder")
    there = [name for name in folders_in(root) if is_plain_name(name)]
    full = [name for name in there if any(_chapters(root, name))]
    if not full:
        raise CorpusError(
            f"{root}: must hold subsets such as train-clean-100 with <speaker>/<chapter> folders, "
            f"has none; found the folders: {named(there)}"
        )
    unknown = [subset for subset in config.subsets if subset not in full]
    if unknown:
        raise CorpusError(f"{root}: has no subset {named(unknown)}; it has: {named(full)}")
    chosen = list(config.subsets) or full
    for subset in chosen:
        check_folder_inside(root, subset)
    return chosen


def _chapters(root: Path, subset: str) -> Iterator[tuple[str, str]]:
    """Yields (speaker, chapter) of each chapter folder that has a transcript or audio."""
    for speaker in folders_in(root / subset):
        for chapter in folders_in(root / subset / speaker):
            if any(_is_ours(name) for name in files_in(root / subset / speaker / chapter)):
                yield speaker, chapter


def _is_ours(name: str) -> bool:
    return name.endswith(_TRANSCRIPT_SUFFIX) or Path(name).suffix.lower() in AUDIO_SUFFIXES


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """One line of a transcript, or what is wrong with it."""

    where: str
    utterance: str = ""
    text: str = ""
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    """What stays the same for all chapters of an entry."""

    root: Path
    entry: int
    source: Source
    tables: LibriSpeechTables

    def read(self, subset: str) -> Iterator[Candidate | Rejection]:
        for speaker, chapter in _chapters(self.root, subset):
            check_folder_inside(self.root, f"{subset}/{speaker}/{chapter}")
            yield from self._chapter(f"{subset}/{speaker}/{chapter}")

    def _chapter(self, folder: str) -> Iterator[Candidate | Rejection]:
        subset = folder.partition("/")[0]
        names = files_in(self.root / folder)
        audio, doubles = _audio_by_stem(names)
        done: set[str] = set()
        for line in _lines(self.root, folder, names):
            if line.problem is not None:
                yield self._rejected(line.where, None, Reason.MALFORMED_ROW, line.problem)
                continue
            audio_id = self._audio_id(subset, line.utterance)
            if line.utterance in done:
                detail = f"{line.where} names an utterance that was listed before"
                yield self._rejected(line.where, audio_id, Reason.DUPLICATE_ID, detail)
                continue
            done.add(line.utterance)
            name = audio.get(line.utterance)
            yield self._utterance(f"{folder}/{name}" if name else None, audio_id, line)
        for stem in sorted(audio.keys() - done):
            detail = (
                f"{printable(f'{folder}/{audio[stem]}')} must have a line in a .trans.txt file"
            )
            audio_id = self._audio_id(subset, printable(stem))
            yield self._rejected(audio_id, audio_id, Reason.TRANSCRIPT_MISSING, detail)
        for name in doubles:
            where = printable(f"{folder}/{name}")
            audio_id = self._audio_id(subset, printable(Path(name).stem))
            detail = f"{where} holds an utterance that lies there in another format, too"
            yield self._rejected(where, audio_id, Reason.DUPLICATE_ID, detail)

    def _utterance(self, path: str | None, audio_id: str, line: _Line) -> Candidate | Rejection:
        if path is None:
            detail = f"{line.where} must have an audio file beside it, there is none"
            return self._rejected(audio_id, audio_id, Reason.AUDIO_MISSING, detail)
        folder, name = path.rsplit("/", 1)
        reason = why_unusable(self.root / folder, name, root=self.root)
        if reason is not None:
            detail = f"{path} must be a file of the corpus folder"
            return self._rejected(audio_id, audio_id, reason, detail)
        subset, speaker, chapter, _ = path.split("/")
        return Candidate(
            audio_id=audio_id,
            entry=self.entry,
            audio_path=path,
            transcript=line.text,
            language="en",
            speaker=Speaker(id=speaker, gender=self.tables.genders.get(speaker)),
            corpus_split=_SPLITS.get(subset.split("-")[0]),
            source=self.source,
            extra=self._extra(subset, chapter),
        )

    def _extra(self, subset: str, chapter: str) -> dict[str, str]:
        extra = {"subset": subset, "chapter_id": chapter}
        listed = self.tables.chapters.get(chapter)
        if listed is not None:
            extra |= {
                "chapter_title": listed.title,
                "book_id": listed.book_id,
                "book_title": listed.book_title,
            }
        return extra

    def _audio_id(self, subset: str, utterance: str) -> str:
        return f"{self.source.corpus}/{self.source.version}/{subset}/{utterance}"

    def _rejected(
        self, row_id: str, audio_id: str | None, reason: Reason, detail: str
    ) -> Rejection:
        if row_id != audio_id:  # a place in the corpus: make it unique among corpora
            row_id = f"{self.source.corpus}/{self.source.version}/{row_id}"
        return Rejection(
            row_id=row_id, audio_id=audio_id, step=_STEP, reason=reason, detail=detail
        )


def _audio_by_stem(names: list[str]) -> tuple[dict[str, str], list[str]]:
    """Returns the audio file of each utterance, and files that repeat one in another format."""
    audio: dict[str, str] = {}
    doubles = []
    files = [name for name in names if Path(name).suffix.lower() in AUDIO_SUFFIXES]
    for name in sorted(files, key=lambda file: AUDIO_SUFFIXES.index(Path(file).suffix.lower())):
        stem = Path(name).stem
        if stem in audio:
            doubles.append(name)
        else:
            audio[stem] = name
    return audio, sorted(doubles)


def _lines(root: Path, folder: str, names: list[str]) -> Iterator[_Line]:
    _, speaker, chapter = folder.split("/")
    for name in names:
        if not name.endswith(_TRANSCRIPT_SUFFIX):
            continue
        path = root / folder / name
        with readable(path), path.open("rb") as transcript:
            for number, content in numbered_lines(transcript):
                where = f"{printable(f'{folder}/{name}')}:{number}"
                if content is None:
                    yield _Line(where=where, problem=f"{where}: {OVERLONG}")
                elif content.strip():
                    yield _line(where, content, f"{speaker}-{chapter}-")


def _line(where: str, content: bytes, beginning: str) -> _Line:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return _Line(where=where, problem=f"{where}: must be UTF-8, byte {error.start} is not")
    if "\x00" in text:
        return _Line(where=where, problem=f"{where}: must be text, it holds a NUL byte")
    utterance, _, spoken = text.removeprefix("\ufeff").partition(" ")
    if not utterance.startswith(beginning) or not utterance.isprintable():
        return _Line(
            where=where,
            problem=f"{where}: must begin with an utterance id {printable(beginning)}<number>, "
            f"got {utterance[:40]!r}",
        )
    return _Line(where=where, utterance=utterance, text=spoken)
