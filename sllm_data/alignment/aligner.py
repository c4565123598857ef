"""Chooses who aligns an utterance, and judges what comes out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sllm_data.alignment.config import AlignmentConfig
from sllm_data.alignment.imports import ImportedWords, word_time_files
from sllm_data.alignment.matching import fit
from sllm_data.alignment.timing import NotAlignedError, Timing
from sllm_data.audio.decode import DecodedClip
from sllm_data.audio.mono import mono
from sllm_data.records import AlignedWord, Reason
from sllm_data.words import written_words

Backend = Literal["files", "pocketsphinx", "ctc"]

_LEAST_CONFIDENCE: dict[Backend, float] = {"files": 0.0, "pocketsphinx": 0.05, "ctc": 0.1}
_STRETCH_S = 2.0
_BEYOND_END_S = 0.05  # rounded times may end a little behind the clip
_TINY = 1e-30


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """What an aligner must know of an utterance."""

    name: str
    """Its upstream id, by which files name it."""
    transcript: str
    language: str
    sampling_rate: int
    num_samples: int
    decoded: Callable[[], DecodedClip]
    """Decodes its audio; not called where word times are imported."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """The words of an utterance with their times."""

    words: tuple[AlignedWord, ...]
    backend: Backend
    confidence: float | None
    """Of the weakest stretch of 2 s, see `weakest_stretch`."""


def check_backends(config: AlignmentConfig) -> None:
    """Looks whether what the configuration names is there, the CTC model by loading it.

    Raises:
        CorpusError: There are no word times.
        ModelError: The model can't be loaded.
    """
    if config.files is not None and config.backend in ("auto", "files"):
        word_time_files(config.files)
    if config.ctc_model is not None and config.backend in ("auto", "ctc"):
        _ctc(config)


class Aligner:
    """Aligns the utterances of one part.

    Args:
        config: Of the run.
        imported: The database of word times, where files are given.
    """

    def __init__(self, config: AlignmentConfig, imported: Path | None) -> None:
        self._config = config
        self._imported = ImportedWords(imported) if imported else None
        self._models: dict[Backend, _Model] = {}

    def close(self) -> None:
        """Closes the database of imported word times."""
        if self._imported is not None:
            self._imported.close()

    def is_eligible(self, language: str) -> bool:
        """Tells whether there is somebody who may align the language."""
        return self._imported is not None or self._listener(language) is not None

    def align(self, spoken: Spoken) -> Aligned:
        """Finds the words of an eligible utterance.

        Raises:
            NotAlignedError: They can't be found, or not surely enough.
            ModelError: The CTC model can't be loaded.
        """
        written = written_words(spoken.transcript)
        backend, times = self._times(spoken, written)
        words = _placed(written, times, spoken)
        return _judged(words, backend, self._config.min_confidence, spoken.sampling_rate)

    def _times(
        self, spoken: Spoken, written: Sequence[str]
    ) -> tuple[Backend, list[Timing | None]]:
        if self._imported is not None:
            found = self._imported.find(spoken.name, Path(spoken.name).name)
            if found is not None:
                return "files", fit(written, found)
        listener = self._listener(spoken.language)
        if listener is None:
            raise NotAlignedError(
                Reason.NOT_ALIGNED,
                f"{self._config.files}: must hold the word times of {spoken.name}, does not",
            )
        return listener, self._model(listener)(spoken, written)

    def _listener(self, language: str) -> Literal["pocketsphinx", "ctc"] | None:
        config = self._config
        base = language.partition("-")[0].lower()
        if config.backend in ("auto", "pocketsphinx") and base == "en":
            return "pocketsphinx"
        known = {name.partition("-")[0].lower() for name in config.ctc_languages}
        if config.backend in ("auto", "ctc") and config.ctc_model and (not known or base in known):
            return "ctc"
        return None

    def _model(self, backend: Literal["pocketsphinx", "ctc"]) -> "_Model":
        if backend not in self._models:
            self._models[backend] = _sphinx() if backend == "pocketsphinx" else _ctc(self._config)
        return self._models[backend]


_Model = Callable[[Spoken, Sequence[str]], list[Timing | None]]


def _sphinx() -> _Model:
    from sllm_data.alignment.sphinx import SPHINX_RATE_HZ, SphinxAligner  # noqa: PLC0415 - slow

    aligner = SphinxAligner()
    return lambda spoken, words: aligner.align(mono(spoken.decoded(), SPHINX_RATE_HZ), words)


def _ctc(config: AlignmentConfig) -> _Model:
    from sllm_data.alignment.ctc import CtcAligner  # noqa: PLC0415 - torch takes seconds

    aligner = CtcAligner(config.ctc_model or "")
    return lambda spoken, words: aligner.align(mono(spoken.decoded(), aligner.rate_hz), words)


def _placed(
    written: Sequence[str], times: Sequence[Timing | None], spoken: Spoken
) -> list[AlignedWord]:
    """Puts times into samples; one without a sound is a part of the word before it.

    Raises:
        NotAlignedError: Words are empty, out of order, overlap, or end behind the clip.
    """
    rate, end_of_clip = spoken.sampling_rate, spoken.num_samples
    words: list[AlignedWord] = []
    ahead = ""
    ended = 0
    for text, timing in zip(written, times, strict=True):
        if timing is None:
            if words:
                words[-1] = _longer(words[-1], text)
            else:
                ahead += text
            continue
        start, end = round(timing.start_s * rate), round(timing.end_s * rate)
        if end > end_of_clip and end <= end_of_clip + _BEYOND_END_S * rate:
            end = end_of_clip
        if not ended <= start < end <= end_of_clip:
            raise NotAlignedError(
                Reason.BAD_WORD_TIMES,
                f"word {len(words) + 1}, {text.strip()!r}, must last a while between "
                f"{ended / rate:.3f} s, where the one before it ends, and the end at "
                f"{end_of_clip / rate:.3f} s; it goes from {timing.start_s:.3f} to "
                f"{timing.end_s:.3f} s",
            )
        words.append(
            AlignedWord(
                text=ahead + text,
                start_sample=start,
                num_samples=end - start,
                confidence=timing.confidence,
            )
        )
        ahead, ended = "", end
    if not words:
        raise NotAlignedError(Reason.NOT_ALIGNED, "must have a word that sounds, found none")
    return words


def _longer(word: AlignedWord, text: str) -> AlignedWord:
    return AlignedWord(
        text=word.text + text,
        start_sample=word.start_sample,
        num_samples=word.num_samples,
        confidence=word.confidence,
    )


def _judged(
    words: Sequence[AlignedWord], backend: Backend, least: float | None, rate: int
) -> Aligned:
    least = _LEAST_CONFIDENCE[backend] if least is None else least
    confidence, text = weakest_stretch(words, rate)
    if confidence is not None and confidence < least:
        raise NotAlignedError(
            Reason.LOW_CONFIDENCE,
            f"{backend} must be sure of the words by {least:g} at least, it is by "
            f"{confidence:.2g} of: {text}",
        )
    return Aligned(tuple(words), backend, confidence)


def weakest_stretch(words: Sequence[AlignedWord], rate: int) -> tuple[float | None, str]:
    """Returns the least mean confidence of words in a row that last 2 s, and their text.

    The mean is geometric, weighted by duration; of an utterance with less than 2 s of words
    it is that of all. So a wrong half of a transcript is found, and one mumbled `of` does no harm.
    None without confidences.
    """
    known = [word for word in words if word.confidence is not None]
    if not known:
        return None, ""
    logs = [word.num_samples * math.log(max(word.confidence or 0, _TINY)) for word in known]
    weakest: tuple[float, int, int] | None = None
    begin, size, total = 0, 0, 0.0
    for end, (word, log) in enumerate(zip(known, logs, strict=True), start=1):
        size, total = size + word.num_samples, total + log
        while size - known[begin].num_samples >= _STRETCH_S * rate:
            size, total = size - known[begin].num_samples, total - logs[begin]
            begin += 1
        if size >= _STRETCH_S * rate or (end == len(known) and weakest is None):
            weakest = min(weakest or (0.0, 0, 0), (total / size, begin, end))
    log_mean, first, last = weakest or (0.0, 0, 0)
    return math.exp(log_mean), "".join(word.text for word in known[first:last]).strip()
