"""A cascade: what is said is written down, and the backbone reads that where the transcript was.

    clip ─> transcriber ─> "the ferri left in fog" ─> text side of the row ─> backbone ─> answer

The backbone is that of the model beside which it stands, so that the two differ in one thing:
whether words stand between speech and answer.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from sllm_data.audio.decode import DecodedClip
from sllm_data.audio.mono import mono
from sllm_data.errors import ConfigError, ModelError
from sllm_data.evaluation.probing.rows import is_plain, with_transcript
from sllm_data.files import is_file
from sllm_data.records import Message
from sllm_data.testbed.encoder import ENCODER_RATE_HZ, HEAD, load_encoder
from sllm_data.trainer.data.conversation import encode_prompt, prompts_batch, question_of
from sllm_data.trainer.data.reading import Row
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.model.pretrained import read_config, read_model
from sllm_data.trainer.trained import Trained
from sllm_data.units import Hertz

SELF = "self"
"""The name of a transcriber that is the model itself."""

_TASK = "transcription"
_MAX_TOKENS = 256  # of what is written down
_FULL_SCALE = 2.0**15
_AT_ONCE = 16  # clips
_LEAST_SAMPLES, _MOST_SAMPLES = ENCODER_RATE_HZ // 40, ENCODER_RATE_HZ * 30  # that it takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """What is to be written down: a span of a clip."""

    source: object
    """Which clip: another one has another."""
    clip: DecodedClip
    start: int
    """The first sample, at the clip's rate, as `num_samples`."""
    num_samples: int
    gain_db: float
    language: str

    @property
    def key(self) -> object:
        """The same where the same is said."""
        return self.source, self.start, self.num_samples, self.gain_db


class Transcriber(Protocol):
    """Writes down what is said."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def __call__(self, utterances: Sequence[Utterance]) -> list[str]:
        """Returns a text for each."""
        ...


class Remembering:
    """A transcriber that is asked once about each utterance, however many rows ask about it."""

    def __init__(self, transcriber: Transcriber) -> None:
        self.name = transcriber.name
        self._transcriber = transcriber
        self._known: dict[object, str] = {}

    def __call__(self, utterances: Sequence[Utterance]) -> list[str]:
        """See Transcriber."""
        new = {each.key: each for each in utterances if each.key not in self._known}
        if new:
            texts = self._transcriber(list(new.values()))
            self._known.update(zip(new, texts, strict=True))
        return [self._known[each.key] for each in utterances]

    def remember(self, utterances: Sequence[Utterance], texts: Sequence[str]) -> None:
        """Takes over what was written down before."""
        self._known.update(zip((each.key for each in utterances), texts, strict=True))


def utterances_of(row: Row, clips: Sequence[DecodedClip]) -> list[Utterance]:
    """Returns the audio spans of a row's question, in order."""
    spans = [span for turn in row.turns for span in turn.content if span.text is None]
    return [
        Utterance(
            source=row.audio_refs[span.audio_index or 0],
            clip=clips[span.audio_index or 0],
            start=span.start_sample or 0,
            num_samples=span.num_samples or 0,
            gain_db=gain,
            language=row.extra["language"],
        )
        for span, gain in zip(spans, row.gains_db, strict=True)
    ]


def as_written_down(row: Row, texts: Sequence[str]) -> Row:
    """Returns a row whose text side holds what was written down instead of what was said.

    A question about one clip keeps the wording of its text side; of all others the side that
    hears is read, with a text in the place of each audio span.
    """
    if is_plain(row):
        return with_transcript(row, texts[0])
    given = iter(texts)
    messages = tuple(
        Message(
            role=turn.role,
            content="".join(
                next(given) if span.text is None else span.text for span in turn.content
            ),
        )
        for turn in row.turns
    )
    return replace(row, text_messages=messages)


class OwnEars:
    """The model itself, asked to transcribe in a wording of the dataset.

    Args:
        trained: The model.
        rows: Of the dataset; the first that asks for a transcript gives the wording.

    Raises:
        ConfigError: None does.
    """

    name = SELF

    def __init__(self, trained: Trained, rows: Sequence[Row]) -> None:
        wordings = [row for row in rows if row.task == _TASK and is_plain(row)]
        if not wordings:
            raise ConfigError(
                f"--asr {SELF} needs a row of task {_TASK} for its wording, the split has none; "
                "name a model of transformers with --asr"
            )
        self._trained = trained
        self._question = question_of(wordings[0])

    def __call__(self, utterances: Sequence[Utterance]) -> list[str]:
        """See Transcriber."""
        if not utterances:
            return []
        model, renderer, _ = self._trained
        prompts = [
            encode_prompt(
                [
                    replace(turn, content=tuple(_moved(span, each) for span in turn.content))
                    for turn in self._question
                ],
                clips=[each.clip],
                gains_db=[each.gain_db],
                renderer=renderer,
                geometry=model.geometry,
            )
            for each in utterances
        ]
        batch = prompts_batch(prompts).to(model.device)
        found = answer(model, batch, max_tokens=_MAX_TOKENS, stop_ids=renderer.stop_ids)
        return [renderer.decode(ids) for ids in found]


def _moved(span: Any, to: Utterance) -> Any:  # Any: a Span of either kind
    if span.text is not None:
        return span
    return replace(span, audio_index=0, start_sample=to.start, num_samples=to.num_samples)


class AsrModel:
    """A model of transformers that transcribes: Whisper and its kin, or any trained by CTC.

    Args:
        model: A folder or a hub id, with its processor.
        device: cpu or cuda.

    Raises:
        ModelError: It can't be loaded.
    """

    def __init__(self, model: str, *, device: str) -> None:
        from transformers import (  # noqa: PLC0415 - its import takes seconds
            AutoFeatureExtractor,
            AutoModelForCTC,
            AutoModelForSpeechSeq2Seq,
            AutoTokenizer,
        )

        what = "a model that transcribes, with feature extractor and tokenizer"
        config: Any = read_config(model, None, what=what)  # Any: of transformers
        self._writes = bool(config.is_encoder_decoder)
        kind = AutoModelForSpeechSeq2Seq if self._writes else AutoModelForCTC
        loaded: Any = read_model(kind, model, None, dtype=torch.float32, what=what)  # as above
        self._model = loaded.to(device)
        try:
            self._features = AutoFeatureExtractor.from_pretrained(model, trust_remote_code=False)
            self._tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{model}: must hold {what}: {error}") from error
        self.name = model.rstrip("/").rpartition("/")[2]

    def __call__(self, utterances: Sequence[Utterance]) -> list[str]:
        """See Transcriber."""
        pieces = [
            (place, piece) for place, each in enumerate(utterances) for piece in self._cut(each)
        ]
        written: list[list[str]] = [[] for _ in utterances]
        for batch in self._batches([piece for _, piece in pieces]):
            texts = self._written([pieces[number][1] for number in batch])
            for number, text in zip(batch, texts, strict=True):
                written[pieces[number][0]].append(text.strip())
        return [" ".join(filter(None, texts)) for texts in written]

    def _cut(self, utterance: Utterance) -> Iterator[Utterance]:
        """Yields what a model hears at once: one that writes leaves out what is behind 30 s."""
        most = utterance.num_samples
        if self._writes:
            seconds = getattr(self._features, "chunk_length", most)
            most = min(most, seconds * utterance.clip.sampling_rate)
        for start in range(0, utterance.num_samples, max(most, 1)):
            yield replace(
                utterance,
                start=utterance.start + start,
                num_samples=min(most, utterance.num_samples - start),
            )

    def _batches(self, utterances: Sequence[Utterance]) -> list[list[int]]:
        """Those that may be computed at once: none for CTC, whose padding would be heard."""
        if not self._writes:
            return [[place] for place in range(len(utterances))]
        by_language: defaultdict[str, list[int]] = defaultdict(list)
        for place, each in enumerate(utterances):
            by_language[each.language].append(place)
        return list(by_language.values())

    def _written(self, utterances: Sequence[Utterance]) -> list[str]:
        rate = Hertz(self._features.sampling_rate)
        inputs = self._features(
            [_wave(each, rate) for each in utterances], sampling_rate=rate, return_tensors="pt"
        ).to(self._model.device)
        with torch.inference_mode():
            if self._writes:
                ids = self._model.generate(**inputs, **self._spoken(utterances[0].language))
            else:
                ids = self._model(**inputs).logits.argmax(dim=-1)
        found: list[str] = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        return found

    def _spoken(self, language: str) -> dict[str, str]:
        """What a model of many languages is told; it listens for one that it has no name of."""
        known = getattr(self._model.generation_config, "lang_to_id", None) or {}
        name = language.partition("-")[0].lower()
        if f"<|{name}|>" not in known:
            return {}
        return {"language": name, "task": "transcribe"}


class WorldEars:
    """The encoder of the small spoken world by itself, with the words of its CTC head.

    So it hears what a model hears that was trained on it: what differs is what comes after.

    Args:
        folder: What `testbed build` wrote, or the shipped one.

    Raises:
        ModelError: The folder lacks a file, or one is broken.
    """

    name = "the encoder's own words"

    def __init__(self, folder: Path) -> None:
        self._encoder = load_encoder(folder)

    def __call__(self, utterances: Sequence[Utterance]) -> list[str]:
        """See Transcriber."""
        pieces = [
            (place, piece) for place, each in enumerate(utterances) for piece in self._cut(each)
        ]
        by_length = sorted(range(len(pieces)), key=lambda number: len(pieces[number][1]))
        texts: dict[int, str] = {}
        for start in range(0, len(pieces), _AT_ONCE):
            numbers = by_length[start : start + _AT_ONCE]
            found = self._encoder.transcribe_all([pieces[number][1] for number in numbers])
            texts |= dict(zip(numbers, found, strict=True))
        written: list[list[str]] = [[] for _ in utterances]
        for number, (place, _) in enumerate(pieces):
            written[place].append(texts[number])
        return [" ".join(filter(None, each)) for each in written]

    def _cut(self, utterance: Utterance) -> Iterator[npt.NDArray[np.int16]]:
        wave = _wave(utterance, ENCODER_RATE_HZ) * _FULL_SCALE
        samples = np.rint(wave).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        for start in range(0, len(samples), _MOST_SAMPLES):
            piece = samples[start : start + _MOST_SAMPLES]
            if len(piece) >= _LEAST_SAMPLES:
                yield piece


def _wave(utterance: Utterance, rate: Hertz) -> Any:  # Any: float32 (num_samples,)
    stretch = DecodedClip(
        samples=utterance.clip.samples[utterance.start :][: utterance.num_samples],
        sampling_rate=utterance.clip.sampling_rate,
        codec=utterance.clip.codec,
    )
    return mono(stretch, rate) * (10.0 ** (utterance.gain_db / 20.0) / _FULL_SCALE)


def transcriber_of(asr: str, trained: Trained, rows: Sequence[Row]) -> Transcriber:
    """Returns who writes down: `self`, an encoder of the small world, or a model of transformers.

    Raises:
        ConfigError: The model itself, and no row says how to ask it.
        ModelError: The model can't be loaded.
    """
    if asr == SELF:
        return OwnEars(trained, rows)
    if is_file(Path(asr) / HEAD):
        return WorldEars(Path(asr))
    return AsrModel(asr, device=str(trained.model.device))
