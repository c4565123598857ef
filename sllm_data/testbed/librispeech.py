"""LibriSpeech's layout: chapters of FLAC at 16 kHz with `.trans.txt`, and tables of readers.

Beside the transcript of a chapter lie its word times, condensed as the alignments that
Lugosch and others made for LibriSpeech: words and the times at which they end. What is no word is
an empty one, and each utterance begins and ends with such a silence, be it empty.

    9001-900100-0000 ",ANNA,,SOLD,LAMPS," "0.00000,0.34381,0.37100,0.71244,1.13875,1.20000"
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sllm_data.files import write_text
from sllm_data.testbed.clips import Clip, spoken
from sllm_data.testbed.layouts import (
    NOTICE,
    Amount,
    Receipt,
    reader_of,
    time_of,
    write_audio,
    write_tables,
)
from sllm_data.testbed.voices import Voice
from sllm_data.units import Hertz, Samples, Seconds

LIBRISPEECH_RATE_HZ = Hertz(16_000)

_SPEAKERS_HEADER = ";ID  |SEX| SUBSET           |MINUTES| NAME"
_CHAPTERS_HEADER = (
    ";ID    |READER|MINUTES| SUBSET           | PROJ.|BOOK ID| CH. TITLE | PROJECT TITLE"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """What one reader says in one go."""

    subset: str
    number: int
    """Of the reader's chapters, from 0."""
    voice: Voice
    texts: tuple[str, ...]

    def write(self, folder: Path) -> Receipt:
        """Writes the audio, the transcripts and the word times."""
        reader = reader_of(self.voice)
        chapter = f"{reader}{self.number:02}"  # a reader has four digits: no two are the same
        place = folder / self.subset / reader / chapter
        transcripts, alignments, total_s = [], [], 0.0
        clips = spoken(self.texts, [self.voice], LIBRISPEECH_RATE_HZ)
        for number, clip in enumerate(clips):
            name = f"{reader}-{chapter}-{number:04}"
            write_audio(place / f"{name}.flac", clip.samples, clip.rate_hz)
            transcripts.append(f"{name} {_heard(clip.text)}\n")
            alignments.append(f"{name} {_aligned(clip)}\n")
            total_s += clip.duration_s
        write_text(place / f"{reader}-{chapter}.trans.txt", "".join(transcripts))
        write_text(place / f"{reader}-{chapter}.alignment.txt", "".join(alignments))
        row = (
            f"{chapter:<6} | {reader:<4} | {total_s / 60:<5.2f} | {self.subset:<16} | 0    "
            f"| 0 | Chapter {self.number + 1} | Made by the testbed"
        )
        return Receipt(
            subset=self.subset,
            num_utterances=len(self.texts),
            duration_s=Seconds(total_s),
            lines={"CHAPTERS.TXT": [row]},
            readers={self._row(reader): Seconds(total_s)},
        )

    def _row(self, reader: str) -> str:
        sex = self.voice.gender[0].upper()
        return f"{reader:<4} | {sex} | {self.subset:<16} | {{:<5}} | espeak-ng {self.voice.name}"


def finish_librispeech(folder: Path, receipts: Iterable[Receipt]) -> dict[str, Amount]:
    """Writes the tables of all chapters and readers; returns how much each subset holds."""
    amounts, readers = write_tables(folder, receipts, {"CHAPTERS.TXT": _CHAPTERS_HEADER})
    rows = [row.format(f"{total_s / 60:.2f}") for row, total_s in readers.items()]
    write_text(folder / "SPEAKERS.TXT", "\n".join([_SPEAKERS_HEADER, *rows, ""]))
    write_text(folder / "README.TXT", NOTICE.format(layout="LibriSpeech"))
    return amounts


def _heard(text: str) -> str:
    return "".join(letter for letter in text.upper() if letter.isalpha() or letter in "' ")


def _aligned(clip: Clip) -> str:
    words, ends = [], []
    reached = Samples(-1)  # so that the first silence is written, be it empty
    for word in clip.words:
        if word.start_sample > reached:
            words.append("")
            ends.append(word.start_sample)
        words.append(_heard(word.text))
        ends.append(word.end_sample)
        reached = word.end_sample
    words.append("")
    ends.append(Samples(len(clip.samples)))
    times = ",".join(time_of(end, clip.rate_hz) for end in ends)
    return f'"{",".join(words)}" "{times}"'
