"""Common Voice's layout: MP3, tables of 13 columns, and word times as CTM."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sllm_data.files import write_text, writing
from sllm_data.seeding import hash128, rng_for
from sllm_data.testbed.clips import spoken
from sllm_data.testbed.layouts import (
    NOTICE,
    Amount,
    Receipt,
    ctm_lines,
    write_audio,
    write_tables,
)
from sllm_data.testbed.voices import Voice
from sllm_data.units import Hertz, Seconds

COMMON_VOICE_RATE_HZ = Hertz(22_050)
"""espeak-ng's own: at the 32 or 48 kHz of the real clips there would be no more to hear."""

_COLUMNS = (
    *("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes"),
    *("down_votes", "age", "gender", "accents", "variant", "locale", "segment"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clips:
    """A run of clips of one locale, the voices taking turns."""

    locale: str
    subset: str
    """For the sums; the layout has none."""
    tables: tuple[str, ...]
    """Those that list the clips: `("validated", "train")`."""
    first: int
    """Number of the first clip in the locale."""
    voices: tuple[Voice, ...]
    texts: tuple[str, ...]
    seed: int
    """Of the votes."""

    def write(self, folder: Path) -> Receipt:
        """Writes the audio."""
        rows: list[str] = []
        durations: list[str] = []
        times: list[str] = []
        total_s = 0.0
        clips = spoken(self.texts, self.voices, COMMON_VOICE_RATE_HZ)
        for number, clip in enumerate(clips, start=self.first):
            name = _clip_name(self.locale, number)
            write_audio(folder / self.locale / "clips" / name, clip.samples, clip.rate_hz)
            rows.append(_row(clip.voice, name, clip.text, locale=self.locale, seed=self.seed))
            durations.append(f"{name}\t{round(clip.duration_s * 1000)}")
            words = [(word, None) for word in clip.words]
            times += ctm_lines(name.removesuffix(".mp3"), words, clip.rate_hz)
            total_s += clip.duration_s
        return Receipt(
            subset=self.subset,
            num_utterances=len(self.texts),
            duration_s=Seconds(total_s),
            lines={
                **{f"{self.locale}/{table}.tsv": rows for table in self.tables},
                f"{self.locale}/clip_durations.tsv": durations,
                f"{self.locale}/words.ctm": times,
            },
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaws:
    """Four rows as real releases have them.

    A clip that is missing, a silent one, an empty sentence, and a copy of the first clip.
    """

    locale: str
    first: int
    """Number of the first flawed clip."""
    voice: Voice
    copied: str
    """The sentence of clip 0."""
    seed: int

    def write(self, folder: Path) -> Receipt:
        """Writes the clips that there are."""
        clips = folder / self.locale / "clips"
        missing, silent, wordless, copy = (
            _clip_name(self.locale, self.first + number) for number in range(4)
        )
        num_samples = 2 * COMMON_VOICE_RATE_HZ
        noise = np.random.default_rng(self.seed).normal(0, 1_000, num_samples).astype(np.int16)
        write_audio(clips / silent, np.zeros(num_samples, dtype=np.int16), COMMON_VOICE_RATE_HZ)
        write_audio(clips / wordless, noise, COMMON_VOICE_RATE_HZ)
        with writing(clips / copy):
            (clips / copy).write_bytes((clips / _clip_name(self.locale, 0)).read_bytes())
        sentences = {
            missing: "This clip is missing.",
            silent: "This is silent.",
            wordless: "",
            copy: self.copied,
        }
        rows = [
            _row(self.voice, name, text, locale=self.locale, seed=self.seed)
            for name, text in sentences.items()
        ]
        return Receipt(
            subset="flaws",
            num_utterances=len(rows),
            duration_s=Seconds(0.0),
            lines={f"{self.locale}/validated.tsv": rows},
        )


def finish_common_voice(folder: Path, receipts: Iterable[Receipt]) -> dict[str, Amount]:
    """Writes the tables of all clips; returns how much each subset holds."""
    titles = dict(_titles())
    amounts, _ = write_tables(folder, receipts, titles)
    write_text(folder / "README.txt", NOTICE.format(layout="Common Voice"))
    return amounts


def _titles() -> Iterator[tuple[str, str]]:
    for table in ("train", "dev", "test", "validated", "other"):
        yield f"{table}.tsv", "\t".join(_COLUMNS)
    yield "clip_durations.tsv", "clip\tduration[ms]"


def _clip_name(locale: str, number: int) -> str:
    return f"common_voice_{locale}_{90_000_000 + number}.mp3"


def _row(voice: Voice, name: str, text: str, *, locale: str, seed: int) -> str:
    rng = rng_for(seed, "testbed-votes", name)
    client_id = "".join(hash128("testbed-client", locale, voice.number, i) for i in range(4))
    sentence_id = hash128("testbed-sentence", text) + hash128(text)
    votes = (str(rng.randint(2, 5)), str(rng.randint(0, 1)))
    about = (voice.age, voice.gender, voice.accent)
    return "\t".join((client_id, name, sentence_id, text, "", *votes, *about, "", locale, ""))
