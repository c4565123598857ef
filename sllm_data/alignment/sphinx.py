"""English word times by pocketsphinx, whose package carries its model and dictionary.

Words that the dictionary lacks are pronounced by espeak-ng. A word's confidence is how
likely its frames are in the states of its phonemes, against the best state of all: the
geometric mean over its frames.
"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pocketsphinx

from sllm_data.alignment.pronunciation import pronounce
from sllm_data.alignment.timing import NotAlignedError, Timing
from sllm_data.records import Reason
from sllm_data.units import Hertz

SPHINX_RATE_HZ = Hertz(16_000)

_FRAMES_PER_S = 100
_STATES = 3  # of a phoneme; each takes a frame at least
_NOISE_DB = -30.0  # against the speech
_FRAME = int(SPHINX_RATE_HZ) // 20
_LEAST_LOG = -50.0  # of a frame; likelihoods of long bad words underflow
_APOSTROPHES = str.maketrans("\u2019\u02bc`", "'''")
_MARKS = "".join(map(chr, range(0x21, 0x30))) + ":;<=>?@[\\]^_{|}~\u201c\u201d\u2014\u2013\u2026"


class SphinxAligner:
    """Aligns one utterance after the other; what came before does not matter.

    Words once pronounced are kept, so use one for a part and not for a corpus.
    """

    def __init__(self) -> None:
        self._decoder = _decoder()
        self._names: dict[str, str | None] = {}
        """In the dictionary, by the word as written; None for one without a sound."""

    def align(self, samples: npt.NDArray[np.int16], words: Sequence[str]) -> list[Timing | None]:
        """Returns when each word is said, None for one that has no sound.

        Args:
            samples: Mono at 16 kHz, shape (num_samples,).
            words: As the transcript has them.

        Raises:
            NotAlignedError: The audio is too short for the words, or has none of them.
        """
        names = self._named(words)
        said = [name for name in names if name is not None]
        if not said:
            raise NotAlignedError(Reason.NOT_ALIGNED, "must have a word that sounds, found none")
        self._check_length(len(samples), said)
        times = None if _has_digital_silence(samples) else self._search(samples, said)
        times = times or self._search(_with_noise(samples), said)
        if times is None:
            raise NotAlignedError(
                Reason.NOT_ALIGNED,
                f"the {len(said)} words must be found in the clip one after the other, the "
                "search for them did not reach the end",
            )
        found = iter(times)
        return [None if name is None else next(found) for name in names]

    def _named(self, words: Sequence[str]) -> list[str | None]:
        missing = []
        for word in dict.fromkeys(words):
            if word not in self._names:
                known = next(filter(self._decoder.lookup_word, _spellings(word)), None)
                if known:
                    self._names[word] = known
                else:
                    missing.append(word)
        for word, phonemes in zip(missing, pronounce(missing) if missing else [], strict=True):
            self._names[word] = f"<{len(self._names)}>" if phonemes else None
            if phonemes:
                self._decoder.add_word(self._names[word], phonemes, update=True)
        return [self._names[word] for word in words]

    def _check_length(self, num_samples: int, names: Sequence[str]) -> None:
        num_phonemes = sum(len(self._decoder.lookup_word(name).split()) for name in names)
        needed_s = _STATES * num_phonemes / _FRAMES_PER_S
        found_s = num_samples / SPHINX_RATE_HZ
        if found_s < needed_s:
            raise NotAlignedError(
                Reason.SHORTER_THAN_TRANSCRIPT,
                f"{len(names)} words of {num_phonemes} phonemes must last at least "
                f"{needed_s:.2f} s, the clip has {found_s:.2f} s",
            )

    def _search(self, samples: npt.NDArray[np.int16], names: Sequence[str]) -> list[Timing] | None:
        decoder = self._decoder
        decoder.set_align_text(" ".join(names))
        decoder.start_utt()
        decoder.process_raw(samples.astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        found = [] if decoder.hyp() is None else list(decoder.seg())
        spoken = [segment for segment in found if segment.word not in _FILLERS]
        return [_timing(segment) for segment in spoken] if len(spoken) == len(names) else None


def _decoder() -> pocketsphinx.Decoder:
    """Loads the model without its removal of noise, which carries over to the next utterance."""
    given = Path(pocketsphinx.get_model_path("en-us/en-us/feat.params")).read_text("utf-8")
    with tempfile.NamedTemporaryFile("w", suffix=".params", encoding="utf-8") as features:
        features.write(given.replace("-remove_noise yes", "-remove_noise no"))
        features.flush()
        return pocketsphinx.Decoder(
            lm=None,
            samprate=float(SPHINX_RATE_HZ),
            featparams=features.name,
            loglevel="FATAL",
        )


_FILLERS = frozenset({"<sil>", "<s>", "</s>", "[NOISE]", "[SPEECH]", "[UM]", "[UH]"})


def _has_digital_silence(samples: npt.NDArray[np.int16]) -> bool:
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return not frames.any(axis=1).all()


def _with_noise(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Adds the noise of a quiet room: the model knows no silence without any."""
    wave = samples.astype(np.float64)
    loudness = np.sqrt(np.mean(wave**2)) * 10 ** (_NOISE_DB / 20)
    noise = np.random.default_rng(0).standard_normal(len(wave)) * loudness
    limits = np.iinfo(np.int16)
    noisy: npt.NDArray[np.int16] = np.clip(np.rint(wave + noise), limits.min, limits.max).astype(
        np.int16
    )
    return noisy


def _timing(segment: "pocketsphinx.Segment") -> Timing:
    num_frames = segment.end_frame + 1 - segment.start_frame
    likelihood = math.log(segment.ascore) if segment.ascore > 0 else -math.inf
    return Timing(
        start_s=segment.start_frame / _FRAMES_PER_S,
        end_s=(segment.end_frame + 1) / _FRAMES_PER_S,
        confidence=math.exp(max(min(likelihood / num_frames, 0.0), _LEAST_LOG)),
    )


def _spellings(word: str) -> list[str]:
    """Returns what a word may be in the dictionary, the likeliest first."""
    plain = word.strip().translate(_APOSTROPHES).lower()
    marks = _MARKS.replace("'", "")
    return [plain.strip(marks), plain.strip(_MARKS)]
