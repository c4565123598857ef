"""Word times by any model that was trained by CTC on characters, from transformers.

The best path through the model's frames is torchaudio's `forced_align`. A word's confidence
is the geometric mean of its characters' probabilities. CTC models name a character in a
frame or two and stay silent (blank) between, so a word is timed from its first to its last
named frame, and the blanks around it belong to nobody.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torchaudio.functional import TokenSpan, forced_align, merge_tokens

from sllm_data.alignment.timing import NotAlignedError, Timing
from sllm_data.errors import ModelError
from sllm_data.records import Reason
from sllm_data.units import Hertz

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FULL_SCALE = 32_768.0


class CtcAligner:
    """A CTC model that aligns one utterance after the other.

    Args:
        model: A folder or a hub id, with model, feature extractor and tokenizer.

    Raises:
        ModelError: One of them is missing, or the tokenizer has no blank.
    """

    def __init__(self, model: str) -> None:
        self._model, self._features, tokenizer = _loaded(model)
        self.rate_hz = Hertz(self._features.sampling_rate)
        self._ids: dict[str, int] = tokenizer.get_vocab()
        self._blank = tokenizer.pad_token_id
        self._border = self._ids.get(getattr(tokenizer, "word_delimiter_token", None) or "")
        if self._blank is None:
            raise ModelError(f"{model}: its tokenizer must have a pad token, CTC's blank")
        self._special = set(tokenizer.all_special_ids)

    def align(self, samples: npt.NDArray[np.int16], words: Sequence[str]) -> list[Timing | None]:
        """Returns when each word is said, None for one that the model has no character of.

        Args:
            samples: Mono at `rate_hz`, shape (num_samples,).
            words: As the transcript has them.

        Raises:
            NotAlignedError: The audio is too short for the words, or no word can be spelt.
        """
        spelt = [self._spelling(word) for word in words]
        if not any(spelt):
            raise NotAlignedError(
                Reason.NOT_ALIGNED, "must have a word that the model can spell, found none"
            )
        targets, owners = self._targets(spelt)
        log_probs = self._log_probs(samples)
        repeats = sum(a == b for a, b in pairwise(targets))
        if len(targets) + repeats > log_probs.shape[1]:
            raise NotAlignedError(
                Reason.SHORTER_THAN_TRANSCRIPT,
                f"{len(targets)} characters need at least {len(targets) + repeats} frames of the "
                f"model, the clip has {log_probs.shape[1]}",
            )
        path, scores = forced_align(log_probs, torch.tensor([targets]), blank=self._blank)
        spans = merge_tokens(path[0], scores[0].exp(), blank=self._blank)
        frame_s = len(samples) / self.rate_hz / log_probs.shape[1]
        of_words: list[list[TokenSpan]] = [[] for _ in words]
        for span, owner in zip(spans, owners, strict=True):
            if owner is not None:
                of_words[owner].append(span)
        return [_timing(spans, frame_s) if spans else None for spans in of_words]

    def _spelling(self, word: str) -> list[int]:
        """Returns the ids of a word's characters, as the model's vocabulary has their case."""
        ids = []
        for character in word.strip():
            for form in (character, character.lower(), character.upper()):
                found = self._ids.get(form)
                if found is not None and found not in self._special and found != self._border:
                    ids.append(found)
                    break
        return ids

    def _targets(self, spelt: Sequence[list[int]]) -> tuple[list[int], list[int | None]]:
        """Returns the characters of all words, with borders between, and each one's word."""
        targets: list[int] = []
        owners: list[int | None] = []
        for number, ids in enumerate(spelt):
            if ids and targets and self._border is not None:
                targets.append(self._border)
                owners.append(None)
            targets += ids
            owners += [number] * len(ids)
        return targets, owners

    def _log_probs(self, samples: npt.NDArray[np.int16]) -> torch.Tensor:
        wave = samples.astype(np.float32) / _FULL_SCALE
        inputs = self._features(wave, sampling_rate=self.rate_hz, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(**inputs).logits
        return logits.float().log_softmax(dim=-1)


def _timing(spans: Sequence[TokenSpan], frame_s: float) -> Timing:
    logs = [math.log(max(span.score, 1e-30)) for span in spans]
    return Timing(
        start_s=spans[0].start * frame_s,
        end_s=spans[-1].end * frame_s,
        confidence=math.exp(sum(logs) / len(logs)),
    )


def _loaded(model: str) -> "tuple[PreTrainedModel, Any, Any]":  # Any: transformers' own
    from transformers import (  # noqa: PLC0415 - its import takes seconds
        AutoFeatureExtractor,
        AutoModelForCTC,
        AutoTokenizer,
    )

    try:
        return (
            AutoModelForCTC.from_pretrained(
                model, use_safetensors=True, trust_remote_code=False
            ).eval(),
            AutoFeatureExtractor.from_pretrained(model, trust_remote_code=False),
            AutoTokenizer.from_pretrained(model, trust_remote_code=False),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"alignment.ctc_model {model}: must be a model that transformers' AutoModelForCTC "
            f"loads, with feature extractor and tokenizer; it says: {error}"
        ) from error
