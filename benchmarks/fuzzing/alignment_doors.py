"""Doors of word times that other programs made: condensed alignments, CTM, TextGrid."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fuzzing.mutating import Mutator
from fuzzing.trial import Door, Taken, Target, must, taken_from

from sllm_data.alignment.aligner import Aligner, Spoken
from sllm_data.alignment.config import AlignmentConfig
from sllm_data.alignment.imports import collect_word_times
from sllm_data.alignment.timing import NotAlignedError
from sllm_data.audio.decode import DecodedClip
from sllm_data.records import Rejection

_TRANSCRIPT = "Go on, well-known \u2014 friend."
_RATE, _SAMPLES = 16_000, 48_000
_NAMES = ("u1", "84-1-0000")

_CONDENSED = (
    b'84-1-0000 ",GO,,ON,WELL,KNOWN,FRIEND," "0.4,0.8,1.2,1.3,1.5,1.9,2.5,3.0"\n'
    b'u1 "go,on,<unk>,friend" "0.4,0.8,1.2,2.9"\n'
)
_CTM = (
    b";; by hand\nu1 1 0.5 0.25 go 0.9\nu1.wav A 0.75 0.25 on NA\n"
    b"u1 1 1.0 0.5 well-known 1.0 lex x\nu1 1 2.0 0.5 friend\n84-1-0000 1 0.1 0.2 go\n"
)
_GRID = b"""File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 3
        intervals: size = 5
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = "go"
        intervals [3]:
            xmin = 1
            xmax = 1.5
            text = "on"
        intervals [4]:
            xmin = 1.5
            xmax = 2
            text = "well-known"
        intervals [5]:
            xmin = 2
            xmax = 3
            text = "friend"
"""
_SHORT_GRID = (
    b'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n3\n<exists>\n1\n"IntervalTier"\n'
    b'"words"\n0\n3\n4\n0\n0.5\n"go"\n0.5\n1\n"on"\n1\n2\n"well-known"\n2\n3\n"friend"\n'
)


def _opener(name: str) -> Callable[[Path], Door]:
    def prepare(folder: Path) -> Door:
        path, database = folder / name, folder / "times.sqlite"
        config = AlignmentConfig(backend="files", files=path)

        def door(content: bytes) -> Taken:
            path.write_bytes(content)
            collect_word_times(path, database, tier=None)
            with closing(Aligner(config, database)) as aligner:
                return taken_from([_aligned(aligner, name) for name in _NAMES])

        return door

    return prepare


def _aligned(aligner: Aligner, name: str) -> object:
    spoken = Spoken(
        name=name,
        transcript=_TRANSCRIPT,
        language="xx",
        sampling_rate=_RATE,
        num_samples=_SAMPLES,
        decoded=_undecoded,
    )
    try:
        found = aligner.align(spoken)
    except NotAlignedError as error:
        return Rejection(
            row_id=name, audio_id=name, step="align", reason=error.reason, detail=error.detail
        )
    must("".join(word.text for word in found.words) == _TRANSCRIPT, "the words are others")
    end = 0
    for word in found.words:
        must(word.start_sample >= end and word.num_samples >= 1, f"an overlap at {word}")
        must(word.confidence is None or 0 <= word.confidence <= 1, f"a confidence at {word}")
        end = word.start_sample + word.num_samples
    must(end <= _SAMPLES, "a word behind the end")
    return found


def _undecoded() -> DecodedClip:
    raise AssertionError("imported word times need no audio")


_MAX_BYTES = 1 << 12
_NUMBERS = ("0.5", "-1", "1e400", "nan", "inf", "NA", "0", "3.0", "3.04", "0x1p3", "1_0", "\u0663")
_WORDS = ("go", "ON", "<unk>", "sil", "well", "known", "u1", "84-1-0000", "u1.wav", ";;", "lex")
TARGETS = (
    Target(
        name="condensed",
        open=_opener("84-1.alignment.txt"),
        seeds=lambda: [_CONDENSED],
        mutator=Mutator(max_bytes=_MAX_BYTES, tokens=(*_WORDS, *_NUMBERS, '" "', '"', ",")),
    ),
    Target(
        name="ctm",
        open=_opener("all.ctm"),
        seeds=lambda: [_CTM],
        mutator=Mutator(max_bytes=_MAX_BYTES, tokens=(*_WORDS, *_NUMBERS)),
    ),
    Target(
        name="textgrid",
        open=_opener("u1.TextGrid"),
        seeds=lambda: [_GRID, _SHORT_GRID, _GRID.decode().encode("utf-16")],
        mutator=Mutator(
            max_bytes=_MAX_BYTES,
            tokens=(
                *_WORDS,
                *_NUMBERS,
                *('class = "IntervalTier"', 'class = "TextTier"', "intervals [1]:", "item [2]:"),
                *("xmin = ", "xmax = ", 'text = "', '""', "intervals: size = 9", "points: size"),
            ),
        ),
    ),
)
