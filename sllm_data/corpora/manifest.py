"""Manifests: one JSON object a line with NeMo's keys, audio in files, archives or long files.

Rows are read and judged here, and their audio is looked for; it is not opened. The manifests
are looked into first, so that wrong paths and wrong keys end at once. Nothing is remembered
from line to line, so memory does not grow; ids that stand twice are found by the listing
step.
"""

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from sllm_data.corpora.archives import split_member
from sllm_data.corpora.audio_file import Unfit
from sllm_data.corpora.folders import files_in, named, printable, readable, stays_inside
from sllm_data.corpora.ids import as_id
from sllm_data.corpora.lines import OVERLONG, numbered_lines
from sllm_data.corpora.manifest_config import ManifestConfig
from sllm_data.corpora.manifest_lines import (
    MalformedLineError,
    ManifestRow,
    parse_line,
    read_object,
)
from sllm_data.corpora.sources import Place, find_audio
from sllm_data.corpora.wordings import gender_of, split_of
from sllm_data.errors import CorpusError
from sllm_data.files import is_file, is_folder
from sllm_data.records import Candidate, Reason, Rejection, Source, Speaker
from sllm_data.seeding import hash128

_STEP = "candidates"
_BOM = b"\xef\xbb\xbf"
_LOOKED_AT = 1_000  # lines; where none of them fits, the keys are wrong
_MAX_KEYS = 40
_MAX_STEM_CHARACTERS = 100
_SHARD = "{shard}"
# NeMo names the second segment of a member so, and keeps the member itself once
_SUB = re.compile(r"-sub\d+(?=\.\w+$)")


def manifest_root(config: ManifestConfig) -> Path:
    """Returns the folder that the paths in a manifest start from."""
    if config.audio_root is not None:
        return config.audio_root.expanduser()
    path = config.path.expanduser()
    return path if is_folder(path) else path.parent


def read_manifest(
    config: ManifestConfig, *, entry: int, speaker_salt: str
) -> Iterator[Candidate | Rejection]:
    """Lists the rows of the manifests in their order.

    Raises:
        CorpusError: A manifest or the folder of the audio is missing, or none of the first
            lines of a manifest fits; later, an archive as a whole is unreadable.
    """
    root = manifest_root(config)
    if not is_folder(root):
        raise CorpusError(f"{root}: must be the folder of the audio, no such folder")
    paths = _paths(config)
    for path in paths.values():
        _check_keys(path, config)
    reader = _Reader(
        config=config,
        entry=entry,
        speaker_salt=speaker_salt,
        root=root,
        beginnings=tuple(f"{str(top).rstrip('/')}/" for top in (root.absolute(), root.resolve())),
        source=Source(
            corpus=config.name or config.kind,
            version=config.version,
            licence=config.licence,
            attribution=config.attribution or config.name or config.kind,
        ),
    )
    return (row for name, path in paths.items() for row in reader.read(name, path))


def _paths(config: ManifestConfig) -> dict[str, Path]:
    path = config.path.expanduser()
    if is_file(path) and not config.manifests:
        return {path.name: path}
    if not is_folder(path):
        rule = "the folder of `manifests`" if config.manifests else "a manifest"
        raise CorpusError(f"{path}: must be {rule}, there is none")
    there = [name for name in files_in(path) if ".json" in name]
    if not config.manifests:
        raise CorpusError(
            f"{path}: is a folder; name its manifests in `manifests`, it has: {named(there)}"
        )
    for name in config.manifests:
        if stays_inside(path, name) is None:
            raise CorpusError(f"{path}: `manifests` must lie in this folder, {name!r} leaves it")
        if not (path / name).is_file():
            raise CorpusError(f"{path}: has no manifest {name}; it has: {named(there)}")
    return {name: path / name for name in config.manifests}


def _check_keys(path: Path, config: ManifestConfig) -> None:
    """Refuses a manifest of which none of the first lines has what is needed."""
    columns = config.columns
    found: dict[str, None] = {}
    has_text = False
    for _, content in islice(_lines(path), _LOOKED_AT):
        try:
            document = read_object(content or b"")
        except (MalformedLineError, RecursionError):
            continue
        fits = _has(document, columns.audio) and _has(document, columns.transcript)
        if fits and (config.language is not None or _has(document, columns.language)):
            return
        has_text = has_text or fits
        found.update(dict.fromkeys(islice(document, _MAX_KEYS)))
    if has_text:
        problem = f"no line tells the language ({' or '.join(columns.language)})"
        raise CorpusError(f"{path}: `language` must be set in this corpus entry, {problem}")
    if not found:
        raise CorpusError(f"{path}: must hold one JSON object a line, has none of them")
    needed = f"{' or '.join(columns.audio)} and {' or '.join(columns.transcript)}"
    raise CorpusError(
        f"{path}: lines must have the keys {needed}, found: {named(found)}; "
        "say in `columns` which key means what"
    )


def _has(document: Mapping[str, object], keys: Iterable[str]) -> bool:
    return any(key in document for key in keys)


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yields number and content of the lines with anything on them; None for overlong ones."""
    opened: Any = gzip.open if path.suffix == ".gz" else Path.open  # Any: two kinds of opening
    with readable(path), opened(path, "rb") as file:
        try:
            for number, content in numbered_lines(file):
                line = content.removeprefix(_BOM) if content and number == 1 else content
                if line is None or line.strip():
                    yield number, line
        except (EOFError, zlib.error) as error:
            raise CorpusError(f"{path}: is cut off or damaged ({error}); get it again") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    """What stays the same for all lines of an entry."""

    config: ManifestConfig
    entry: int
    speaker_salt: str
    root: Path
    beginnings: tuple[str, ...]
    """What absolute paths in `root` begin with."""
    source: Source

    def read(self, name: str, path: Path) -> Iterator[Candidate | Rejection]:
        for number, content in _lines(path):
            where = f"{printable(name)}:{number}"
            if content is None:
                yield self._rejected(where, None, (Reason.MALFORMED_ROW, OVERLONG))
                continue
            row = parse_line(content, self.config.columns)
            yield (
                self._judged(where, row)
                if isinstance(row, ManifestRow)
                else self._rejected(where, None, row)
            )

    def _judged(self, where: str, row: ManifestRow) -> Candidate | Rejection:
        language = row.language or self.config.language
        if language is None:
            detail = "the language must be told by the line, or by `language` in this entry"
            return self._rejected(where, None, (Reason.MALFORMED_ROW, detail))
        path = self._path(row)
        if not isinstance(path, str):
            return self._rejected(where, None, path)
        audio_id = f"{self._prefix}/{language}/{_id_of(row, path)}"
        found = find_audio(self.root, path)
        if not isinstance(found, Place):
            return self._rejected(where, audio_id, found)
        split = None if row.split is None else split_of(row.split)
        extra = {**row.extra, "manifest_line": where}
        if row.split and split is None:
            extra["split"] = row.split
        return Candidate(
            audio_id=audio_id,
            entry=self.entry,
            audio_path=path,
            transcript=row.transcript,
            language=language,
            speaker=self._speaker(row),
            corpus_split=self.config.corpus_split if row.split is None else split,
            source=self.source,
            duration_s=row.duration_s,
            start_s=row.start_s,
            extra=extra,
        )

    @property
    def _prefix(self) -> str:
        return f"{self.source.corpus}/{self.source.version}"

    def _path(self, row: ManifestRow) -> str | Unfit:
        """Returns where the audio of a row lies, below `root`."""
        archive = self.config.archive
        if archive is None:
            return self._below_root(row.audio)
        if _SHARD in archive:
            if row.shard is None:
                keys = " or ".join(self.config.columns.shard)
                return Reason.MALFORMED_ROW, f"{keys} must be there to name the archive, is not"
            archive = archive.replace(_SHARD, row.shard)
        path = self._below_root(f"{archive}:{row.audio}")
        if not isinstance(path, str):
            return path
        kept = _SUB.sub("", path)
        if kept == path or isinstance(find_audio(self.root, path), Place):
            return path
        return kept

    def _below_root(self, path: str) -> str | Unfit:
        file, member = split_member(path)
        for beginning in self.beginnings:
            file = file.removeprefix(beginning)
        if file.startswith("/") or ".." in file.split("/"):
            return Reason.PATH_OUTSIDE_CORPUS, f"{file[:80]!r} must stay in the audio_root"
        file = PurePosixPath(file).as_posix()
        return file if member is None else f"{file}:{member}"

    def _speaker(self, row: ManifestRow) -> Speaker:
        speaker = row.speaker or None
        if speaker is not None and self.config.hash_speakers:
            speaker = hash128(self.speaker_salt, speaker)
        return Speaker(
            id=speaker,
            gender=gender_of(row.gender or None),
            age=row.age or None,
            accent=row.accent or None,
            emotion=row.emotion or None,
        )

    def _rejected(self, where: str, audio_id: str | None, unfit: Unfit) -> Rejection:
        reason, detail = unfit
        return Rejection(
            row_id=f"{self._prefix}/{where}",
            audio_id=audio_id,
            step=_STEP,
            reason=reason,
            detail=f"{where}: {detail}",
        )


def _id_of(row: ManifestRow, path: str) -> str:
    """Returns the row's own id, or one made of its path and times that sorts by them."""
    if row.id is not None:
        return as_id(row.id)
    file, member = split_member(path)
    stem = as_id(PurePosixPath(member or file).stem[:_MAX_STEM_CHARACTERS])
    if row.start_s is None:
        return f"{stem}-{hash128(path)[:16]}"
    times = hash128(path, repr(row.start_s), repr(row.duration_s))[:16]
    return f"{stem}-{round(1000 * row.start_s):010d}-{times}"
