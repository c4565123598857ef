"""Small corpora of sensible sentences in the layouts of LibriSpeech and Common Voice.

What is written is what a user would have downloaded, for the demo and the tests; the corpora
of the small spoken world, in any amount, come from spoken_world.py. The speech is
synthesised (see speech.py), so a model trained on it learns nothing about people. The same
arguments give the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sllm_data.testbed.common_voice import Clips, Flaws, finish_common_voice
from sllm_data.testbed.layouts import Amount, Block
from sllm_data.testbed.librispeech import Chapter, finish_librispeech
from sllm_data.testbed.sentences import sentences
from sllm_data.testbed.voices import Voice, cast
from sllm_data.units import Seconds

_CHAPTER_LENGTH = 20  # utterances


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

    def chapters() -> Iterator[Block]:
        texts = sentences("en", sum(subsets.values()), seed=seed)
        for position, (subset, count) in enumerate(subsets.items()):
            voices = cast("en", num_speakers, first=position * num_speakers, seed=seed)
            chosen, texts = texts[:count], texts[count:]
            for turn, voice in enumerate(voices):
                yield from _chapters(subset, voice, chosen[turn :: len(voices)])

    return _total(finish_librispeech(folder, (block.write(folder) for block in chapters())))


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

    def blocks() -> Iterator[Block]:
        for position, (locale, count) in enumerate(locales.items()):
            # Not LibriSpeech's seed, so that two corpora of a run don't say the same sentences.
            texts = tuple(sentences(locale, count, seed=seed + 1))
            voices = tuple(
                cast(locale, num_speakers, first=position * num_speakers, seed=seed + 1)
            )
            yield Clips(
                locale=locale,
                subset=locale,
                tables=("validated",),
                first=0,
                voices=voices,
                texts=texts,
                seed=seed,
            )
            if flaws and count:
                yield Flaws(
                    locale=locale, first=count, voice=voices[-1], copied=texts[0], seed=seed
                )

    return _total(finish_common_voice(folder, (block.write(folder) for block in blocks())))


def _chapters(subset: str, voice: Voice, texts: Sequence[str]) -> Iterator[Chapter]:
    for start in range(0, len(texts), _CHAPTER_LENGTH):
        yield Chapter(
            subset=subset,
            number=start // _CHAPTER_LENGTH,
            voice=voice,
            texts=tuple(texts[start : start + _CHAPTER_LENGTH]),
        )


def _total(amounts: Mapping[str, Amount]) -> Seconds:
    return Seconds(sum(amount.duration_s for amount in amounts.values()))
