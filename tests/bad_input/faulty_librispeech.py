"""A folder in LibriSpeech's layout with every fault of its lines and files in one chapter."""

from collections.abc import Iterator
from pathlib import Path

from sllm_data.records import Reason
from sllm_data.testbed import write_librispeech
from tests.bad_input.hostile import HOSTILE, HUNDRED_THOUSAND
from tests.bad_input.planted import Planted
from tests.bad_input.spoken_clips import HTML, clip, cut_off, lying, silence, write_three_hours

CHAPTER = "train-clean-a/9990/1"
_PREFIX = "librispeech/slr12/train-clean-a/9990-1-"


def write_faulty_librispeech(folder: Path, planted: Planted) -> None:
    root = folder / "LibriSpeech"
    write_librispeech(root, subsets={"train-clean-a": 6}, num_speakers=2, seed=3)
    planted.good += [
        f"librispeech/slr12/train-clean-a/{path.stem}" for path in sorted(root.rglob("*.flac"))
    ]
    chapter = root / CHAPTER
    chapter.mkdir(parents=True)
    lines = _Lines(planted)
    for number, (ending, content) in enumerate(_fine_clips(), start=1):
        (chapter / f"9990-1-{number:04}{ending}").write_bytes(content)
        lines.good(number, "FORTY WORDS ARE FINE")
    for number, (name, reason, ending, content) in enumerate(_unfit_clips(), start=20):
        (chapter / f"9990-1-{number:04}{ending}").write_bytes(content)
        lines.bad(number, name, "ingest", reason)
    write_three_hours(chapter / "9990-1-0040.flac")
    lines.bad(40, "a file of three hours", "ingest", Reason.TOO_LONG)
    lines.bad(41, "a transcript without audio", "candidates", Reason.AUDIO_MISSING)
    (chapter / "9990-1-0042.flac").symlink_to(folder / "secret.flac")
    lines.bad(42, "a link out of the corpus", "candidates", Reason.PATH_OUTSIDE_CORPUS)
    (chapter / "9990-1-0043.flac").write_bytes(clip(43))
    planted.fault(
        "audio without a transcript",
        "candidates",
        Reason.TRANSCRIPT_MISSING,
        f"{_PREFIX}0043",
    )
    for number in (44, 45):
        (chapter / f"9990-1-{number:04}.flac").write_bytes(clip(number))
        lines.good(number, "THIS ONE IS KEPT")
    lines.spoilt("the same id twice", Reason.DUPLICATE_ID, b"9990-1-0044 THIS ONE IS NOT")
    (chapter / "9990-1-0045.wav").write_bytes(clip(46, container="WAV"))
    planted.fault(
        "one utterance in two formats",
        "candidates",
        Reason.DUPLICATE_ID,
        f"librispeech/slr12/{CHAPTER}/9990-1-0045.wav",
    )
    lines.spoilt("a torn line of a transcript", Reason.MALFORMED_ROW, b"AND NO ID")
    lines.spoilt("a NUL in a transcript", Reason.MALFORMED_ROW, b"9990-1-0047 SO \x00 HE SAID")
    lines.spoilt(
        "a transcript in Latin-1", Reason.MALFORMED_ROW, "9990-1-0048 SÜß".encode("cp1252")
    )
    long = b"9990-1-0051 " + b"X" * (1 << 20)
    lines.spoilt("a transcript without line ends", Reason.MALFORMED_ROW, long)
    (chapter / "9990-1-0049.flac").write_bytes(clip(49))
    lines.bad(49, "a transcript without words", "ingest", Reason.EMPTY_TRANSCRIPT, text="-- ...")
    (chapter / "9990-1-0050.flac").write_bytes(clip(50))
    lines.bad(
        50,
        "a transcript of 100,000 characters",
        "plan.main",
        Reason.PROMPT_TOO_LONG,
        text=HUNDRED_THOUSAND,
    )
    for number, text in enumerate(HOSTILE.values(), start=100):
        (chapter / f"9990-1-{number:04}.flac").write_bytes(clip(number))
        lines.good(number, text)
        planted.hostile[f"{_PREFIX}{number:04}"] = text
    (chapter / "9990-1.trans.txt").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines.lines))


class _Lines:
    """The lines of the faulty chapter's transcript, and what each of them stands for."""

    def __init__(self, planted: Planted) -> None:
        self._planted = planted
        self.lines: list[bytes] = []

    def good(self, number: int, text: str) -> None:
        self.lines.append(f"9990-1-{number:04} {text}".encode())
        self._planted.good.append(f"{_PREFIX}{number:04}")

    def bad(
        self, number: int, name: str, step: str, reason: Reason, text: str = "NOT THIS ONE"
    ) -> None:
        self.lines.append(f"9990-1-{number:04} {text}".encode())
        self._planted.fault(name, step, reason, f"{_PREFIX}{number:04}")

    def spoilt(self, name: str, reason: Reason, line: bytes) -> None:
        self.lines.append(line)
        where = f"librispeech/slr12/{CHAPTER}/9990-1.trans.txt:{len(self.lines)}"
        self._planted.fault(name, "candidates", reason, where)


def _fine_clips() -> Iterator[tuple[str, bytes]]:
    yield ".flac", clip(2, subtype="PCM_24")
    yield ".flac", clip(3, channels=2)
    yield ".wav", clip(4, rate=8_000, container="WAV")
    yield ".flac", clip(5, rate=96_000)
    yield ".opus", clip(6, rate=48_000, container="OGG", subtype="OPUS")
    yield ".mp3", clip(7, container="MP3")


def _unfit_clips() -> Iterator[tuple[str, Reason, str, bytes]]:
    unreadable = Reason.UNREADABLE_AUDIO
    yield "a truncated FLAC", unreadable, ".flac", cut_off(clip(20))
    yield "an MP3 that is HTML", unreadable, ".mp3", HTML
    yield "a file of zero length", unreadable, ".flac", b""
    yield "a FLAC header that claims too little", unreadable, ".flac", lying(23)
    yield (
        "a WAV header that claims too much",
        unreadable,
        ".wav",
        cut_off(clip(24, container="WAV")),
    )
    yield "silence", Reason.SILENT, ".flac", silence()
    yield "a clip without room for a word", Reason.TOO_SHORT, ".flac", clip(26, duration_s=0.1)
