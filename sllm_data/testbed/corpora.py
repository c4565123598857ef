"""Spoken corpora in the layouts of LibriSpeech and Common Voice, made on the spot.

What is written is what a user would have downloaded: FLAC at 16 kHz with upper-case
`.trans.txt`, or MP3 at 32 kHz with a 13-column `validated.tsv`. The speech is
synthesised (see speech.py), so a model trained on it learns nothing about people; it
serves to run the pipeline. The same arguments give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from sllm_data.files import write_text
from sllm_data.seeding import hash128, rng_for
from sllm_data.testbed.sentences import sentences
from sllm_data.testbed.voices import Clip, Voice, cast, spoken
from sllm_data.units import Hertz, Samples, Seconds, to_seconds

LIBRISPEECH_RATE_HZ = Hertz(16_000)
COMMON_VOICE_RATE_HZ = Hertz(32_000)

_FIRST_READER = 9_001  # LibriSpeech's own end at 8,975
_CHAPTER_LENGTH = 20  # utterances
_NOTICE = "Synthetic speech by espeak-ng in the layout of {layout}; it holds no human voice.\n"
_SPEAKERS_HEADER = ";ID  |SEX| SUBSET           |MINUTES| NAME"
_CHAPTERS_HEADER = (
    ";ID    |READER|MINUTES| SUBSET           | PROJ.|BOOK ID| CH. TITLE | PROJECT TITLE"
)
_COLUMNS = (
    *("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes"),
    *("down_votes", "age", "gender", "accents", "variant", "locale", "segment"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tables:
    """The rows of SPEAKERS.TXT and CHAPTERS.TXT, and what they add up to."""

    speakers: list[str] = field(default_factory=list)
    chapters: list[str] = field(default_factory=list)
    durations_s: list[Seconds] = field(default_factory=list)


def write_librispeech(
    folder: Path, *, subsets: Mapping[str, int], num_speakers: int = 4, seed: int
) -> Seconds:
    """Writes an English corpus in LibriSpeech's layout.

    Args:
        folder: What would be `LibriSpeech/`; created.
        subsets: How many utterances each subset gets: `{"train-clean-5": 50}`.
        num_speakers: How many speak in each subset; nobody speaks in two.
        seed: Chooses sentences and speakers.

    Returns:
        The duration of all utterances.
    """
    texts = sentences("en", sum(subsets.values()), seed=seed)
    tables = _Tables()
    for position, (subset, count) in enumerate(subsets.items()):
        voices = cast("en", num_speakers, first=position * num_speakers, seed=seed)
        chosen, texts = texts[:count], texts[count:]
        clips = list(spoken(chosen, voices, LIBRISPEECH_RATE_HZ))
        for voice in voices:
            own = [clip for clip in clips if clip.voice == voice]
            _write_reader(folder, subset, voice, own, tables)
    rows = [_SPEAKERS_HEADER, *tables.speakers, ""]
    write_text(folder / "SPEAKERS.TXT", "\n".join(rows))
    rows = [_CHAPTERS_HEADER, *tables.chapters, ""]
    write_text(folder / "CHAPTERS.TXT", "\n".join(rows))
    write_text(folder / "README.TXT", _NOTICE.format(layout="LibriSpeech"))
    return Seconds(sum(tables.durations_s))


def write_common_voice(
    folder: Path,
    *,
    locales: Mapping[str, int],
    num_speakers: int = 4,
    flaws: bool = False,
    seed: int,
) -> Seconds:
    """Writes a corpus in Common Voice's layout, with `validated.tsv` of 13 columns.

    Args:
        folder: What would be `cv-corpus-<version>/`; created.
        locales: How many clips each locale gets: `{"en": 40, "de": 20}`; the languages are
            those of sentences.LANGUAGES.
        num_speakers: How many speak in each locale.
        flaws: Adds four rows to every locale, as real releases have them: a clip that is
            missing, a silent one, an empty sentence, and a copy of the first clip.
        seed: Chooses sentences, speakers, votes.

    Returns:
        The duration of the clips, those of the flaws left out.

    Raises:
        ValueError: No grammar speaks a locale.
    """
    num_samples = 0
    for position, (locale, count) in enumerate(locales.items()):
        # Not LibriSpeech's seed, so that two corpora of a run don't say the same sentences.
        texts = sentences(locale, count, seed=seed + 1)
        voices = cast(locale, num_speakers, first=position * num_speakers, seed=seed + 1)
        clips = folder / locale / "clips"
        clips.mkdir(parents=True, exist_ok=True)
        rows: list[Sequence[str]] = [_COLUMNS]
        durations = ["clip\tduration[ms]"]
        for number, clip in enumerate(spoken(texts, voices, COMMON_VOICE_RATE_HZ)):
            name = _clip_name(locale, number)
            _write_mp3(clips / name, clip.samples)
            rows.append(_row(clip.voice, name, clip.text, locale=locale, seed=seed))
            duration_s = to_seconds(Samples(len(clip.samples)), COMMON_VOICE_RATE_HZ)
            durations.append(f"{name}\t{round(duration_s * 1000)}")
            num_samples += len(clip.samples)
        if flaws and count:
            for name, text in _write_flaws(clips, locale, count, seed=seed).items():
                rows.append(_row(voices[-1], name, text, locale=locale, seed=seed))
        lines = ["\t".join(row) for row in rows]
        write_text(folder / locale / "validated.tsv", "\n".join([*lines, ""]))
        write_text(folder / locale / "clip_durations.tsv", "\n".join([*durations, ""]))
    write_text(folder / "README.txt", _NOTICE.format(layout="Common Voice"))
    return to_seconds(Samples(num_samples), COMMON_VOICE_RATE_HZ)


def _write_reader(
    folder: Path, subset: str, voice: Voice, clips: Sequence[Clip], tables: _Tables
) -> None:
    """Writes what one reader says, in chapters, and adds to the tables."""
    reader = _FIRST_READER + voice.number
    total_s = 0.0
    for start in range(0, len(clips), _CHAPTER_LENGTH):
        chapter = 100 * reader + start // _CHAPTER_LENGTH
        own = clips[start : start + _CHAPTER_LENGTH]
        _write_chapter(folder / subset / str(reader) / str(chapter), own)
        num_samples = Samples(sum(len(clip.samples) for clip in own))
        duration_s = to_seconds(num_samples, LIBRISPEECH_RATE_HZ)
        total_s += duration_s
        tables.chapters.append(
            f"{chapter:<6} | {reader:<4} | {duration_s / 60:<5.2f} | {subset:<16} | 0    "
            f"| 0 | Sentences from {start + 1} | Made by the testbed"
        )
    tables.durations_s.append(Seconds(total_s))
    tables.speakers.append(
        f"{reader:<4} | {voice.gender[0].upper()} | {subset:<16} | {total_s / 60:<5.2f} "
        f"| espeak-ng {voice.name}"
    )


def _write_chapter(folder: Path, clips: Sequence[Clip]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"{folder.parent.name}-{folder.name}"
    lines = []
    for number, clip in enumerate(clips):
        name = f"{prefix}-{number:04}"
        soundfile.write(folder / f"{name}.flac", clip.samples, LIBRISPEECH_RATE_HZ)
        heard = "".join(
            letter for letter in clip.text.upper() if letter.isalpha() or letter in "' "
        )
        lines.append(f"{name} {heard}\n")
    write_text(folder / f"{prefix}.trans.txt", "".join(lines))


def _write_mp3(path: Path, samples: npt.NDArray[np.int16]) -> None:
    soundfile.write(path, samples, COMMON_VOICE_RATE_HZ, format="MP3", subtype="MPEG_LAYER_III")


def _clip_name(locale: str, number: int) -> str:
    return f"common_voice_{locale}_{90_000_000 + number}.mp3"


def _row(voice: Voice, name: str, text: str, *, locale: str, seed: int) -> tuple[str, ...]:
    rng = rng_for(seed, "testbed-votes", name)
    client_id = "".join(hash128("testbed-client", locale, voice.number, i) for i in range(4))
    sentence_id = hash128("testbed-sentence", text) + hash128(text)
    votes = (str(rng.randint(2, 5)), str(rng.randint(0, 1)))
    about = (voice.age, voice.gender, voice.accent)
    return (client_id, name, sentence_id, text, "", *votes, *about, "", locale, "")


def _write_flaws(clips: Path, locale: str, count: int, *, seed: int) -> dict[str, str]:
    """Writes the clips of the flawed rows and returns their names with their sentences."""
    missing, silent, wordless, copy = (_clip_name(locale, count + i) for i in range(4))
    num_samples = 2 * COMMON_VOICE_RATE_HZ
    _write_mp3(clips / silent, np.zeros(num_samples, dtype=np.int16))
    noise = np.random.default_rng(seed).normal(0, 1_000, num_samples)
    _write_mp3(clips / wordless, noise.astype(np.int16))
    (clips / copy).write_bytes((clips / _clip_name(locale, 0)).read_bytes())
    (text,) = sentences(locale, 1, seed=seed + 1)
    return {missing: "This clip is missing.", silent: "This is silent.", wordless: "", copy: text}
