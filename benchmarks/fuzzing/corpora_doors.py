"""The doors that corpora come through: transcripts, tables, what LibriSpeech says of readers.

Each writes the input where a corpus would have it, in a corpus that is good otherwise, and
reads the corpus as listing does. Every line of a table must come back as a candidate or as
a rejection, and every candidate must survive its way through a part.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from fuzzing.mutating import Mutator
from fuzzing.trial import Door, Taken, Target, must, taken_from

from sllm_data.corpora.config import CommonVoiceConfig, CorpusConfig, LibriSpeechConfig
from sllm_data.corpora.librispeech_tables import LibriSpeechTables
from sllm_data.corpora.reading import read_corpus
from sllm_data.corpora.tables import read_rows
from sllm_data.errors import CorpusError
from sllm_data.files import sha256_of_bytes
from sllm_data.records import Candidate, Rejection, Source, Speaker
from sllm_data.shards import TABLES

Rows = list[Candidate | Rejection]

_CANDIDATES, _REJECTIONS = TABLES["candidates"].arrow, TABLES["rejections"].arrow


def listed(config: CorpusConfig, *, unique: bool = True) -> Rows:
    """Lists a corpus, and takes the rows through the tables that listing writes.

    Args:
        config: Its entry.
        unique: Whether this kind of corpus finds ids that stand twice by itself.

    Raises:
        Broken: A row came back as another one.
    """
    rows: Rows = list(read_corpus(config, entry=0, speaker_salt="salt"))
    candidates = [row for row in rows if isinstance(row, Candidate)]
    rejections = [row for row in rows if isinstance(row, Rejection)]
    written = pa.Table.from_pylist([_as_row(row) for row in candidates], schema=_CANDIDATES)
    must([_from_row(row) for row in written.to_pylist()] == candidates, "a candidate changed")
    kept = json.loads(json.dumps([asdict(row) for row in rejections]))
    pa.Table.from_pylist(kept, schema=_REJECTIONS)
    ids = [row.audio_id for row in candidates]
    must(not unique or len(set(ids)) == len(ids), "two candidates have one audio_id")
    return rows


def _as_row(candidate: Candidate) -> dict[str, object]:
    return asdict(candidate) | {"extra": json.dumps(dict(candidate.extra), ensure_ascii=False)}


def _from_row(row: dict[str, object]) -> Candidate:
    parsed = {
        "speaker": Speaker(**row["speaker"]),  # type: ignore[arg-type] # rows of one schema
        "source": Source(**row["source"]),  # type: ignore[arg-type]
        "extra": json.loads(str(row["extra"])),
    }
    return Candidate(**row | parsed)  # type: ignore[arg-type]


def _write(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


_FIRST = b"19-198-0000 NORTHANGER ABBEY\n"
_TRANSCRIPT = (
    _FIRST
    + b"19-198-0001 THIS LITTLE WORK WAS FINISHED IN THE YEAR EIGHTEEN O THREE\n"
    + b"19-198-0002 NEITHER THE AUTHOR\n"
)
_CLIPS = ("19-198-0000.flac", "19-198-0001.flac", "19-198-0001.WAV", "19-198-0003.mp3")


def _open_transcript(folder: Path) -> Door:
    root = folder / "LibriSpeech"
    chapter = root / "dev-clean/19/198"
    for name in (*_CLIPS, "notes.txt"):
        _write(chapter / name)
    (chapter / "19-198-0004.flac").symlink_to("/etc/hosts")
    transcript = _write(chapter / "19-198.trans.txt", _TRANSCRIPT)
    _write(root / "SPEAKERS.TXT", _SPEAKERS)
    _write(root / "CHAPTERS.TXT", _CHAPTERS)
    config = LibriSpeechConfig(kind="librispeech", path=root)
    on_disk = {"19-198-0000", "19-198-0001", "19-198-0003", "19-198-0004"}

    def door(content: bytes) -> Taken:
        transcript.write_bytes(content)
        rows = listed(config)
        lines = sum(bool(line.strip()) for line in content.split(b"\n"))
        unnamed = sum(getattr(row, "reason", "") == "transcript_missing" for row in rows)
        must(len(rows) == lines + unnamed + 1, f"{lines} lines gave {len(rows)} rows")
        ends = [str(row.audio_id).rpartition("/")[2] for row in rows]
        must(on_disk <= set(ends), "a clip on disk vanished")
        return taken_from(rows)

    return door


_SPEAKERS = b"; comment\n19  | F | dev-clean | 25.19 | Kara Shallenberg\n20 | M | x | 1 | |CBW|S\n"
_CHAPTERS = b"198 | 19 | 14.5 | dev-clean | 54 | 121 | Chapter 1 | Northanger Abbey\n"
_BOOKS = b"; id | title\n121 | Northanger Abbey | Jane Austen\n122\n"


def _open_readers(folder: Path) -> Door:
    """The same bytes as each of the three tables; at least one must make something of them."""
    names = ("SPEAKERS.TXT", "CHAPTERS.TXT", "BOOKS.TXT")
    paths = [_write(folder / name[:4] / name) for name in names]

    def door(content: bytes) -> Taken:
        read, refused = 0, []
        for path in paths:
            path.write_bytes(content)
            try:
                tables = LibriSpeechTables.read(path.parent)
            except CorpusError as error:
                refused.append(error)
                continue
            lines = content.count(b"\n") + 1
            must(len(tables.genders) + len(tables.chapters) <= lines, "more rows than lines")
            json.dumps([dict(tables.genders), {k: asdict(v) for k, v in tables.chapters.items()}])
            read += len(tables.genders) + len(tables.chapters)
        if not read and refused:
            raise refused[sha256_of_bytes(content)[0] > "7"] if len(refused) > 1 else refused[0]
        return Taken(good=read)

    return door


_COLUMNS = {
    8: b"client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent",
    13: b"client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage"
    b"\tgender\taccents\tvariant\tlocale\tsegment",
}
_TABLES = (
    _COLUMNS[8] + b"\nf00d\ta.mp3\tHello.\t2\t0\ttwenties\tfemale\tus\n"
    b'beef\tb\t"Quoted, he said.\t10\t1\t\tmale\t\nf00d\ta.mp3\tTwice.\t2\t0\t\t\t\n',
    b"\xef\xbb\xbf" + _COLUMNS[13] + b"\r\nf00d\tsub/c.MP3\ts1\tGr\xc3\xbc\xc3\x9fe!\tgeneral\t2"
    b"\t0\tteens\tmale_masculine\tSwiss\tx\tzh-CN\tBenchmark\r\n\r\n",
    _COLUMNS[8] + b"\nf00d\t../../x.mp3\tOut\t2\t0\t\t\t\nx\t\tEmpty\t2\t0\t\t\t\nshort\tline\n"
    b"n\tnone.mp3\t\xff\t0\t0\t\t\t\n" + b"d\td.ogg\tBad votes\t-1\tmany\t\t\t\n",
)
_VOTES: Sequence[dict[str, int]] = ({}, {"min_up_votes": 2}, {"max_down_votes": 0})


def _open_table(folder: Path) -> Door:
    root = _release(folder)
    table = root / "en/validated.tsv"
    configs = [CommonVoiceConfig(kind="common_voice", path=root, **votes) for votes in _VOTES]

    def door(content: bytes) -> Taken:
        table.write_bytes(content)
        config = configs[int(sha256_of_bytes(content)[:8], 16) % len(configs)]
        rows = listed(config)
        lines = [line.removesuffix(b"\r") for line in content.split(b"\n")[1:]]
        num_lines = sum(map(bool, lines))
        must(len(rows) == num_lines, f"{num_lines} lines gave {len(rows)} rows")
        for row in read_rows(table, needed=("path",)):
            if row.problem is None:
                again = "\t".join(row.cells.values()).encode()
                must(again == lines[row.line - 2], f"line {row.line} changed")
        return taken_from(rows)

    return door


def _open_durations(folder: Path) -> Door:
    root = _release(folder)
    _write(root / "en/validated.tsv", _TABLES[0])
    durations = root / "en/clip_durations.tsv"
    config = CommonVoiceConfig(kind="common_voice", path=root)
    num_rows = _TABLES[0].count(b"\n") - 1

    def door(content: bytes) -> Taken:
        durations.write_bytes(content)
        rows = listed(config)
        lines = sum(bool(line.removesuffix(b"\r")) for line in content.split(b"\n")[1:])
        malformed = sum(getattr(row, "reason", "") == "malformed_row" for row in rows)
        must(len(rows) - malformed == num_rows and malformed <= lines, "a row was lost")
        for row in rows:
            if isinstance(row, Candidate) and row.duration_s is not None:
                must(0 <= row.duration_s < 2**32 / 1000, f"a duration of {row.duration_s} s")
        return taken_from(rows)

    return door


def _release(folder: Path) -> Path:
    root = folder / "cv-corpus-17.0-2024-03-15"
    for name in ("a.mp3", "b.mp3", "d.ogg", "sub/c.MP3"):
        _write(root / "en/clips" / name)
    (root / "en/clips/link.mp3").symlink_to("/etc/hosts")
    return root


_TABLE_TOKENS = (
    *("client_id", "path", "sentence", "up_votes", "down_votes", "gender", "locale", "accents"),
    *("a.mp3", "b.mp3", "link.mp3", "sub/c.MP3", "sub/", ".", "..", "a", ".mp3", "x.flac", "-"),
    *(_COLUMNS[8], _COLUMNS[13], "\t\t", "\t2\t0\t", "en", "zh-CN", "do_not_wish_to_say", "²"),
)
_MAX_BYTES = 1 << 12  # a line is a row, and takes its time
TARGETS = (
    Target(
        name="librispeech",
        open=_open_transcript,
        seeds=lambda: [_TRANSCRIPT, b"", b"\xef\xbb\xbf" + _FIRST, _FIRST * 2, b"19-198-0004 L\n"],
        mutator=Mutator(
            max_bytes=_MAX_BYTES,
            tokens=("19-198-", "19-198-0000", "19-198-0004 ", "-", "/", *_CLIPS),
        ),
    ),
    Target(
        name="librispeech_tables",
        open=_open_readers,
        seeds=lambda: [_SPEAKERS, _CHAPTERS, _BOOKS],
        mutator=Mutator(
            max_bytes=_MAX_BYTES, tokens=("|", " | ", ";", "F", "M", "19 | F |", "198 |")
        ),
    ),
    Target(
        name="tsv",
        open=_open_table,
        seeds=lambda: list(_TABLES),
        mutator=Mutator(max_bytes=_MAX_BYTES, tokens=_TABLE_TOKENS),
    ),
    Target(
        name="durations",
        open=_open_durations,
        seeds=lambda: [
            b"clip\tduration[ms]\na.mp3\t3456\nb.mp3\t12.0\n\nd.ogg\t-1\n",
            b"duration\tclip\n4294967295\ta.mp3\n4294967296\tb.mp3\n",
        ],
        mutator=Mutator(
            max_bytes=_MAX_BYTES,
            tokens=("clip", "duration[ms]", "duration", ".0", "a.mp3", "b.mp3"),
        ),
    ),
)
