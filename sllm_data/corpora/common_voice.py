"""Common Voice releases: `<path>/<locale>/{validated,train,...}.tsv` and `<locale>/clips/`.

Every layout from 8 to 13 columns, told apart by the header alone. Rows are read and judged
here; the folders are checked first, so that a wrong path ends at once. Speakers leave this
module as salted hashes only: the users of Common Voice promise not to identify them.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sllm_data.corpora import clip_durations
from sllm_data.corpora.clip_durations import ClipDurations
from sllm_data.corpora.config import CommonVoiceConfig, Table, is_plain_name
from sllm_data.corpora.folders import (
    AUDIO_SUFFIXES,
    check_folder_inside,
    files_in,
    folders_in,
    named,
    why_unusable,
)
from sllm_data.corpora.options import is_language_tag
from sllm_data.corpora.tables import Row, read_columns, read_rows
from sllm_data.errors import CorpusError
from sllm_data.files import is_folder
from sllm_data.records import Candidate, Reason, Rejection, Source, Speaker
from sllm_data.seeding import hash128

_NEEDED = ("client_id", "path", "sentence")
_EXTRA = ("sentence_id", "sentence_domain", "up_votes", "down_votes", "variant", "segment")
_SPLITS: dict[Table, str] = {"train": "train", "dev": "validation", "test": "test"}
_GENDERS = {
    "": None,
    "do_not_wish_to_say": None,
    "male": "male",
    "male_masculine": "male",
    "female": "female",
    "female_feminine": "female",
}
_RELEASE = re.compile(r"cv-corpus-(.+)")
_STEP = "candidates"
_MAX_VOTE_DIGITS = 9


def read_common_voice(
    config: CommonVoiceConfig, *, entry: int, speaker_salt: str
) -> Iterator[Candidate | Rejection]:
    """Lists the clips of the chosen locales and tables, in the order of the tables.

    All folders and headers are checked before this returns. Memory grows by a hash for each
    clip of one locale, and by 12 bytes where durations are listed.

    Raises:
        CorpusError: A folder, locale, table or needed column is missing.
    """
    root = config.path.expanduser()
    version = config.version or _version(root)
    locales = _locales(root, config)
    for locale in locales:
        _check_locale(root, locale, config)
    source = Source(
        corpus=config.name or config.kind,
        version=version,
        licence=config.licence,
        attribution=config.attribution,
    )
    readers = [
        _Locale(
            config=config,
            entry=entry,
            speaker_salt=speaker_salt,
            source=source,
            locale=locale,
            folder=root / locale,
        )
        for locale in locales
    ]
    return (row for reader in readers for row in reader.read())


def clip_stem(path: str) -> tuple[str, str]:
    """Returns a clip's name without its ending and its path; `.mp3` where it has no ending.

    >>> clip_stem("a.mp3"), clip_stem("a")
    (('a', 'a.mp3'), ('a', 'a.mp3'))
    """
    normal = PurePosixPath(path)
    if normal.suffix.lower() in AUDIO_SUFFIXES:
        return str(normal.with_suffix("")), str(normal)
    return str(normal), f"{normal}.mp3"


def _version(root: Path) -> str:
    # a link may hide the name of the release: look at where it leads, too
    for name in (root.name, root.resolve().name):
        release = _RELEASE.fullmatch(name)
        if release and is_plain_name(release[1]):
            return release[1]
    raise CorpusError(
        f"{root}: the folder must be named cv-corpus-<version> as in the archive, "
        f"got {root.name!r}; else set `version` in this corpus entry"
    )


def _locales(root: Path, config: CommonVoiceConfig) -> list[str]:
    if not is_folder(root):
        raise CorpusError(
            f"{root}: must be the cv-corpus-* folder of a Common Voice release, no such folder"
        )
    there = [name for name in folders_in(root) if is_plain_name(name)]
    locales = [name for name in there if any(f.endswith(".tsv") for f in files_in(root / name))]
    if not locales:
        if (root / "clips").is_dir():
            hint = "this is one locale: give the folder above it and `locales`"
        else:
            hint = f"found the folders: {named(there)}"
        raise CorpusError(
            f"{root}: must hold a folder with tables (.tsv) for each locale, has none; {hint}"
        )
    unknown = [locale for locale in config.locales if locale not in locales]
    if unknown:
        raise CorpusError(f"{root}: has no locale {named(unknown)}; it has: {named(locales)}")
    return list(config.locales) or locales


def _check_locale(root: Path, locale: str, config: CommonVoiceConfig) -> None:
    folder = root / locale
    there = files_in(folder)
    for table in config.tsv:
        if f"{table}.tsv" not in there:
            tables = [name for name in there if name.endswith(".tsv")]
            raise CorpusError(f"{folder}: has no table {table}.tsv; it has: {named(tables)}")
        read_columns(folder / f"{table}.tsv", needed=_needed(config))
    if not (folder / "clips").is_dir():
        raise CorpusError(f"{folder}: must hold the folder clips with the audio, it does not")
    check_folder_inside(root, f"{locale}/clips")


def _needed(config: CommonVoiceConfig) -> list[str]:
    up = ["up_votes"] if config.min_up_votes is not None else []
    down = ["down_votes"] if config.max_down_votes is not None else []
    return [*_NEEDED, *up, *down]


@dataclass(kw_only=True, slots=True)
class _Locale:
    """Reads one locale; remembers which clips it has seen."""

    config: CommonVoiceConfig
    entry: int
    speaker_salt: str
    source: Source
    locale: str
    folder: Path
    durations: ClipDurations = field(default_factory=ClipDurations)
    seen: set[bytes] = field(default_factory=set)

    def read(self) -> Iterator[Candidate | Rejection]:
        self.durations, self.seen = ClipDurations(), set()
        listed = self.folder / clip_durations.FILE_NAME
        if listed.is_file():
            for row in self.durations.fill(listed):
                yield self._malformed(listed.name, row.line, str(row.problem))
        for table in self.config.tsv:
            name = f"{table}.tsv"
            for row in read_rows(self.folder / name, needed=_needed(self.config)):
                yield self._judged(table, row)
        self.durations, self.seen = ClipDurations(), set()  # locales take turns in memory

    def _judged(self, table: Table, row: Row) -> Candidate | Rejection:
        name = f"{table}.tsv"
        problem = row.problem or _problem_of(row)
        if problem is not None:
            return self._malformed(name, row.line, problem)
        path = row.cells["path"]
        stem, file_name = clip_stem(path)
        audio_id = f"{self._prefix}/{stem}"
        if self._is_seen(stem):
            return Rejection(
                row_id=f"{self._prefix}/{name}:{row.line}",
                audio_id=audio_id,
                step=_STEP,
                reason=Reason.DUPLICATE_ID,
                detail=f"{name} line {row.line} names a clip that was listed before",
            )
        unfit = self._why_unfit(row, file_name)
        if unfit is not None:
            reason, detail = unfit
            return Rejection(
                row_id=audio_id, audio_id=audio_id, step=_STEP, reason=reason, detail=detail
            )
        return Candidate(
            audio_id=audio_id,
            entry=self.entry,
            audio_path=f"{self.locale}/clips/{file_name}",
            transcript=row.cells["sentence"],
            language=row.cells.get("locale") or self.locale,
            speaker=self._speaker(row),
            corpus_split=_SPLITS.get(table),
            source=self.source,
            duration_s=self.durations.of(file_name),
            extra=_extra(table, row),
        )

    @property
    def _prefix(self) -> str:
        return f"{self.source.corpus}/{self.source.version}/{self.locale}"

    def _malformed(self, name: str, line: int, problem: str) -> Rejection:
        return Rejection(
            row_id=f"{self._prefix}/{name}:{line}",
            audio_id=None,
            step=_STEP,
            reason=Reason.MALFORMED_ROW,
            detail=f"{self.locale}/{name} line {line}: {problem}",
        )

    def _is_seen(self, stem: str) -> bool:
        key = hashlib.blake2b(stem.encode("utf-8"), digest_size=16).digest()
        if key in self.seen:
            return True
        self.seen.add(key)
        return False

    def _why_unfit(self, row: Row, file_name: str) -> tuple[Reason, str] | None:
        path = row.cells["path"]
        if path.startswith("/") or ".." in path.split("/"):
            return _outside(path)
        up, down = row.cells.get("up_votes", "0"), row.cells.get("down_votes", "0")
        if self.config.min_up_votes is not None and int(up) < self.config.min_up_votes:
            needed = f"must have at least {self.config.min_up_votes} votes for it"
            return Reason.FEW_VOTES, f"{needed}, got {up}"
        if self.config.max_down_votes is not None and int(down) > self.config.max_down_votes:
            allowed = f"must have at most {self.config.max_down_votes} votes against it"
            return Reason.FEW_VOTES, f"{allowed}, got {down}"
        clips = self.folder / "clips"
        reason = why_unusable(clips, file_name, root=clips)
        if reason is Reason.PATH_OUTSIDE_CORPUS:
            return _outside(path)
        if reason is not None:
            return reason, f"{self.locale}/clips/{file_name} must be a file, there is none"
        return None

    def _speaker(self, row: Row) -> Speaker:
        cells = row.cells
        client_id = cells["client_id"]
        gender = cells.get("gender", "")
        return Speaker(
            id=hash128(self.speaker_salt, client_id) if client_id else None,
            gender=_GENDERS.get(gender.lower(), "other"),
            age=cells.get("age") or None,
            accent=cells.get("accents") or cells.get("accent") or None,
        )


def _problem_of(row: Row) -> str | None:
    """Tells what is wrong with the cells of a row, None where they can be used."""
    cells = row.cells
    stem, _ = clip_stem(cells["path"])
    if not cells["path"] or stem in ("", ".") or stem != stem.strip() or not stem.isprintable():
        return f"path must name a clip in printable text, got {cells['path'][:80]!r}"
    for column in ("up_votes", "down_votes"):
        votes = cells.get(column, "0")
        if not (votes.isascii() and votes.isdecimal()) or len(votes) > _MAX_VOTE_DIGITS:
            return f"{column} must be a number of votes, got {votes[:40]!r}"
    language = cells.get("locale", "")
    if language and not is_language_tag(language):
        return f"locale must be a language tag such as zh-CN, got {language[:40]!r}"
    return None


def _outside(path: str) -> tuple[Reason, str]:
    return Reason.PATH_OUTSIDE_CORPUS, f"path must stay in the folder clips, got {path[:80]!r}"


def _extra(table: Table, row: Row) -> dict[str, str]:
    extra = {"table": str(table)}
    extra.update((name, row.cells[name]) for name in _EXTRA if row.cells.get(name))
    return extra
