"""What the layouts of spoken corpora share: blocks of work, receipts, tables, word times.

A corpus is written block by block: a chapter, a run of clips, a dialogue. A block writes its
audio and hands back a receipt with the lines it adds to the corpus's tables. When all blocks
are written, the receipts in their order give the tables. So blocks may be written side by
side, in any order, and again.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from sllm_data.files import atomic_path, writing
from sllm_data.testbed.mp3 import mp3
from sllm_data.testbed.speech import Word
from sllm_data.testbed.voices import Voice
from sllm_data.units import Hertz, Samples, Seconds, to_seconds

FIRST_READER = 9_001  # LibriSpeech's own end at 8,975
NOTICE = "Synthetic speech by espeak-ng in the layout of {layout}; it holds no human voice.\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What a block has written."""

    subset: str
    num_utterances: int
    duration_s: Seconds
    """Of its audio."""
    lines: Mapping[str, Sequence[str]]
    """What it adds to each table, by the table's path in the corpus."""
    readers: Mapping[str, Seconds] = field(default_factory=dict)
    """How long each reader speaks, by a line about the reader with a hole for the minutes."""

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """Returns what `Receipt(**value)` takes."""
        return asdict(self)


class Block(Protocol):
    """A piece of a corpus that can be written by itself."""

    def write(self, folder: Path) -> Receipt:
        """Writes its audio below the corpus's folder; the same bytes each time."""
        ...


@dataclass(slots=True)
class Amount:
    """How much speech there is."""

    num_utterances: int
    duration_s: Seconds


def write_tables(
    folder: Path, receipts: Iterable[Receipt], headers: Mapping[str, str]
) -> tuple[dict[str, Amount], dict[str, Seconds]]:
    """Writes the tables of a corpus, line by line in the order of the receipts.

    Args:
        folder: Of the corpus.
        receipts: Of all blocks.
        headers: The first line of tables that have one, by the file's name.

    Returns:
        How much each subset holds, and how long each reader speaks (see Receipt.readers).
    """
    amounts: dict[str, Amount] = {}
    readers: dict[str, Seconds] = {}
    tables: dict[str, IO[str]] = {}
    with ExitStack() as stack:
        for receipt in receipts:
            for name, lines in receipt.lines.items():
                if name not in tables:
                    temporary = stack.enter_context(atomic_path(folder / name))
                    tables[name] = stack.enter_context(temporary.open("w", encoding="utf-8"))
                    header = headers.get(Path(name).name)
                    tables[name].write(f"{header}\n" if header else "")
                with writing(folder / name):
                    tables[name].writelines(f"{line}\n" for line in lines)
            amount = amounts.setdefault(receipt.subset, Amount(0, Seconds(0.0)))
            amount.num_utterances += receipt.num_utterances
            amount.duration_s = Seconds(amount.duration_s + receipt.duration_s)
            for reader, duration_s in receipt.readers.items():
                readers[reader] = Seconds(readers.get(reader, 0.0) + duration_s)
    return amounts, readers


def write_audio(path: Path, samples: npt.NDArray[np.int16], rate_hz: Hertz) -> None:
    """Writes mono audio as FLAC or MP3, by the path's ending.

    Raises:
        OutputError: The file can't be written.
    """
    content = mp3(samples, rate_hz) if path.suffix == ".mp3" else _flac(samples, rate_hz)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _flac(samples: npt.NDArray[np.int16], rate_hz: Hertz) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def ctm_lines(
    recording: str, words: Sequence[tuple[Word, Voice | None]], rate_hz: Hertz
) -> Iterator[str]:
    """Yields NIST's CTM: recording, channel, start, duration, word, and who says it if known.

    Times are in seconds and name one sample each.
    """
    for word, voice in words:
        start = time_of(word.start_sample, rate_hz)
        duration = time_of(Samples(word.end_sample - word.start_sample), rate_hz)
        speaker = f" 1.00 lex {reader_of(voice)}" if voice else ""
        yield f"{recording} 1 {start} {duration} {word.text}{speaker}"


def time_of(num_samples: Samples, rate_hz: Hertz) -> str:
    """Words a time in seconds, finely enough to tell samples of 48 kHz apart."""
    return f"{to_seconds(num_samples, rate_hz):.5f}"


def reader_of(voice: Voice) -> str:
    """Returns the id of a speaker, as LibriSpeech's readers have them."""
    return str(FIRST_READER + voice.number)
