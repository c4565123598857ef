"""A folder in Common Voice's layout with every fault of its rows and clips."""

from collections.abc import Iterator
from pathlib import Path

from sllm_data.records import Reason
from sllm_data.testbed import write_common_voice
from tests.bad_input.hostile import HOSTILE
from tests.bad_input.planted import Planted
from tests.bad_input.spoken_clips import HTML, clip

_LOCALE = "cv-corpus-9/en"
_PREFIX = "common_voice/9/en/"


def write_faulty_common_voice(folder: Path, planted: Planted) -> None:
    root = folder / "cv-corpus-9"
    write_common_voice(root, locales={"en": 6}, num_speakers=2, flaws=True, seed=3)
    table, clips = folder / _LOCALE / "validated.tsv", folder / _LOCALE / "clips"
    rows = table.read_text(encoding="utf-8").splitlines()
    names = [row.split("\t")[1].removesuffix(".mp3") for row in rows[1:]]
    planted.good += [f"{_PREFIX}{name}" for name in names[:6]]
    missing, silent, wordless, copy = (f"{_PREFIX}{name}" for name in names[6:])
    planted.fault("a clip that is not there", "candidates", Reason.AUDIO_MISSING, missing)
    planted.fault("a silent clip", "ingest", Reason.SILENT, silent)
    planted.fault("an empty sentence", "ingest", Reason.EMPTY_TRANSCRIPT, wordless)
    planted.fault("a clip twice under two names", "index", Reason.DUPLICATE_AUDIO, copy)
    (clips / "page.mp3").write_bytes(HTML)
    (clips / "nothing.mp3").touch()
    (clips / "link.mp3").symlink_to(folder / "secret.flac")
    for name, path, step, reason in (
        ("a path out of the corpus", "../../../secret.flac", "candidates", "path_outside_corpus"),
        ("an absolute path", "/secret.flac", "candidates", "path_outside_corpus"),
        ("a linked clip", "link.mp3", "candidates", "path_outside_corpus"),
        ("a clip that is HTML", "page.mp3", "ingest", "unreadable_audio"),
        ("a clip of zero length", "nothing.mp3", "ingest", "unreadable_audio"),
    ):
        stem = path.removesuffix(".mp3").removesuffix(".flac")
        planted.fault(name, step, Reason(reason), f"{_PREFIX}{stem}")
        rows.append(_row(rows[1], path))
    lines = [row.encode() for row in rows]
    for name, reason, line in _spoilt_lines(rows):
        lines.append(line)
        where = f"{_PREFIX}validated.tsv:{len(lines)}"
        planted.fault(name, "candidates", reason, where)
    for number, (name, text) in enumerate(HOSTILE.items()):
        del name
        (clips / f"hostile_{number}.mp3").write_bytes(clip(200 + number, container="MP3"))
        lines.append(_row(rows[1], f"hostile_{number}.mp3", text).encode())
        planted.hostile[f"{_PREFIX}hostile_{number}"] = text
        planted.good.append(f"{_PREFIX}hostile_{number}")
    table.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    with (folder / _LOCALE / "clip_durations.tsv").open("a", encoding="utf-8") as durations:
        durations.write("torn\n")
    planted.fault(
        "a torn line of durations",
        "candidates",
        Reason.MALFORMED_ROW,
        f"{_PREFIX}clip_durations.tsv:8",
    )


def _spoilt_lines(rows: list[str]) -> Iterator[tuple[str, Reason, bytes]]:
    malformed, first = Reason.MALFORMED_ROW, rows[1].encode()
    yield "a torn line of a TSV", malformed, first[: len(first) // 2]
    yield "a NUL in a TSV", malformed, first.replace(b".mp3", b"\x00.mp3")
    yield "a TSV in Latin-1", malformed, _row(rows[1], "latin.mp3", "süß").encode("cp1252")
    half_pair = b"\xed\xa0\x80"
    yield (
        "half a surrogate pair",
        malformed,
        _row(rows[1], "half.mp3", "@").encode().replace(b"@", half_pair),
    )
    yield "a line without end", malformed, _row(rows[1], "long.mp3", "x" * (1 << 20)).encode()
    yield "a votes cell that is no number", malformed, rows[1].replace("\t", "\t@", 6).encode()
    yield "a row without a path", malformed, _row(rows[1], "").encode()
    yield "the same clip twice", Reason.DUPLICATE_ID, first


def _row(row: str, path: str, sentence: str = "Not this one.") -> str:
    """Returns a row of the table with another clip and sentence."""
    cells = row.split("\t")
    cells[1], cells[3] = path, sentence
    return "\t".join(cells)
