"""A trained model and a dataset become predictions.

Rows are asked in packs of a budget of positions, on every side: the answer is generated, greedy,
and the reference is forced to see how unlikely it is. What is heard, read and decoded goes
through the renderer, features and packs of the training.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, get_args

import torch

from sllm_data.audio.decode import DecodedClip, OverlongAudioError, UndecodableAudioError
from sllm_data.errors import ConfigError, ShardError
from sllm_data.evaluation.backbone import as_backbone
from sllm_data.evaluation.begun import Answers, Begun
from sllm_data.evaluation.cascade import (
    SELF,
    Remembering,
    as_written_down,
    transcriber_of,
    utterances_of,
)
from sllm_data.evaluation.latency import measure
from sllm_data.evaluation.predictions import SIDES, Prediction
from sllm_data.evaluation.probing.diagnosing import Seen, diagnose
from sllm_data.evaluation.probing.rows import chosen_probes
from sllm_data.evaluation.rows import Skipped, chosen_rows
from sllm_data.evaluation.timed import Timed
from sllm_data.files import is_folder
from sllm_data.trainer.data.building import HeardRow
from sllm_data.trainer.data.config import Split
from sllm_data.trainer.data.conversation import (
    encode_prompt,
    encode_row,
    prompts_batch,
    question_of,
    read_question_of,
)
from sllm_data.trainer.data.packing import in_packs
from sllm_data.trainer.data.pages import Clips
from sllm_data.trainer.data.reading import Row
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.trained import Trained

_TIMED = (1, 32)
"""Rows that are answered at once where it is measured how long that takes: one alone, and as
many as keep the machine busy; fewer where the first pack has fewer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """What is asked of whom."""

    dataset: Path
    split: str = "test"
    limit: int | None = None
    """Rows of each task in each eval group; None for all."""
    sides: tuple[str, ...] = ("speech", "text")
    budget: int = 4096
    """Positions of the prompts that are answered at once; a longer one is answered alone."""
    max_tokens: int = 256
    """Of an answer."""
    asr: str = SELF
    """Who writes down what is said, for the side `cascade`: `self`, the folder of an encoder of
    the small world, or a model of transformers."""
    diagnose: int = 0
    """Rows of each task that are looked into; 0: nobody looks."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            raise ConfigError(
                f"split must be one of {', '.join(get_args(Split))}, got {self.split!r}"
            )
        unknown = [side for side in self.sides if side not in SIDES]
        if unknown or not self.sides or len(set(self.sides)) < len(self.sides):
            raise ConfigError(
                f"sides must be some of {', '.join(SIDES)}, each once, got "
                f"{','.join(self.sides)!r}"
            )


class Asked(NamedTuple):
    """What came of asking."""

    predictions: list[Prediction]
    """By sample and side."""
    skipped: list[Skipped]
    """Rows that could not be asked, with the reason."""
    timed: list[Timed]
    """Where the side `cascade` was asked: of one row, and of many at once."""
    other_templates: tuple[str, ...]
    """Chat templates by which rows were answered, where it was another one than the model's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """A row, ready to be asked."""

    row: Row
    clips: Sequence[DecodedClip]
    forced: HeardRow
    """With its labels and its twin."""
    heard: HeardRow
    """The question alone, on the side that hears."""
    read: HeardRow
    """The same on the side that reads."""

    @property
    def num_positions(self) -> int:
        return max(len(self.heard.row.text), len(self.read.row.text))


def ask(
    trained: Trained,
    asking: Asking,
    *,
    name: str,
    begun: Begun | None = None,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> Asked:
    """Asks a model the rows of a dataset.

    Args:
        trained: The model.
        asking: Which rows, which sides.
        name: Of the model, for the predictions.
        begun: Where answers are written as they come, and those that are there are not asked
            for again.
        watch: Called with the rows that are done and their number.

    Raises:
        ShardError: The dataset can't be used, or not one of its rows can.
        ModelError: The backbone is not where it was, or the transcriber can't be loaded.
        ConfigError: The model is to transcribe, and no row says how to ask it.
        OutputError: An answer can't be written.
    """
    rows, skipped = chosen_rows(asking.dataset, split=_split(asking), limit=asking.limit)
    side_by_side = "cascade" in asking.sides
    transcriber = transcriber_of(asking.asr, trained, rows) if side_by_side else None
    timed: list[Timed] = []
    predictions: list[Prediction] = []
    total = len(rows) + len(skipped)
    done = 0
    remembering = None if transcriber is None else Remembering(transcriber)
    ready = _ready_rows(trained, asking.dataset, rows, skipped)
    for pack in in_packs(ready, size_of=lambda each: each.num_positions, budget=asking.budget):
        found = []
        for side in asking.sides:
            answers = begun.find(side, [each.row.sample_id for each in pack]) if begun else None
            if answers is None:
                answers = _answers(trained, asking, pack, side, name, remembering)
                if begun:
                    begun.add(answers)
            elif remembering and side == "cascade":
                _remember(remembering, pack, answers)
            found.append(answers.predictions)
        for of_row in zip(*found, strict=True):
            predictions += of_row
        if transcriber and not timed:
            heard = [(each.row, each.clips) for each in pack]
            for num in dict.fromkeys(min(num, len(pack)) for num in _TIMED):
                timed += measure(trained, heard[:num], transcriber, max_tokens=asking.max_tokens)
        done += len(pack)
        watch(done + len(skipped), total)
    if not predictions:
        raise ShardError(
            f"{asking.dataset}: must hold a row that can be asked, none of {total:,} can; "
            f"the first: {skipped[0].sample_id}: {skipped[0].reason}"
        )
    ours = ("", trained.renderer.chat_template_sha256)
    templates = {row.chat_template_sha256 for row in rows}.difference(ours)
    return Asked(predictions, skipped, timed, tuple(sorted(templates)))


def look_into(trained: Trained, asking: Asking, skipped: Sequence[Skipped]) -> Seen:
    """Looks into a model on the first rows of each task.

    Args:
        trained: The model.
        asking: Which rows, and how many.
        skipped: Rows that can't be asked; they are passed over.

    Raises:
        ShardError: There is no row that can be looked into.
    """
    rows, _ = chosen_rows(asking.dataset, split=_split(asking), limit=asking.limit)
    left_out = {each.sample_id for each in skipped}
    clips = Clips(asking.dataset)
    try:
        probes = chosen_probes(
            trained,
            [row for row in rows if row.sample_id not in left_out],
            clips,
            per_task=asking.diagnose,
        )
    finally:
        clips.close()
    return diagnose(trained, probes)


def _split(asking: Asking) -> Split:
    (found,) = (each for each in get_args(Split) if each == asking.split)
    split: Split = found
    return split


def _ready_rows(
    trained: Trained, dataset: Path, rows: Sequence[Row], skipped: list[Skipped]
) -> Iterator[_Ready]:
    """Yields the rows that can be asked; the others go to `skipped`."""
    clips = Clips(dataset)
    try:
        for row in rows:
            try:
                yield _ready(trained, row, clips)
            except (ShardError, UndecodableAudioError, OverlongAudioError) as error:
                skipped.append(Skipped(sample_id=row.sample_id, reason=str(error)))
    finally:
        clips.close()


def _ready(trained: Trained, row: Row, clips: Clips) -> _Ready:
    model, renderer, _ = trained
    heard = clips.clips_of(row.audio_refs)
    geometry = model.geometry
    return _Ready(
        row=row,
        clips=heard,
        forced=encode_row(row, clips=heard, renderer=renderer, geometry=geometry, twin=True),
        heard=encode_prompt(
            question_of(row),
            clips=heard,
            gains_db=row.gains_db,
            renderer=renderer,
            geometry=geometry,
            sample_id=row.sample_id,
        ),
        read=_read(trained, row),
    )


def _read(trained: Trained, row: Row) -> HeardRow:
    return encode_prompt(
        read_question_of(row),
        renderer=trained.renderer,
        geometry=trained.model.geometry,
        sample_id=row.sample_id,
    )


def _answers(
    trained: Trained,
    asking: Asking,
    pack: Sequence[_Ready],
    side: str,
    name: str,
    transcriber: Remembering | None,
) -> Answers:
    model, renderer, config = trained
    texts: list[list[str]] = [[] for _ in pack]
    if side == "cascade":
        assert transcriber is not None  # noqa: S101 - made where the side is asked
        pack, texts = _written_down(trained, pack, transcriber)
    prompts = prompts_batch([each.heard if side == "speech" else each.read for each in pack])
    forced = prompts_batch([each.forced for each in pack]).to(model.device)
    is_backbone = side in ("backbone", "cascade")
    with as_backbone(model) if is_backbone else nullcontext():
        answers = answer(
            model,
            prompts.to(model.device),
            max_tokens=asking.max_tokens,
            stop_ids=renderer.stop_ids,
        )
        losses = model.label_losses(forced, twin=side != "speech")
    num_labels = [len(each.forced.row.text.labels) for each in pack]
    who = _model_name(config.llm.model) if is_backbone else name
    if side == "cascade" and transcriber:
        who = f"{name if transcriber.name == SELF else transcriber.name}, then {who}"
    predictions = [
        _prediction(
            each.row,
            side=side,
            text=renderer.decode(ids),
            num_tokens=len(ids),
            max_tokens=asking.max_tokens,
            losses=own,
            model=who,
            written="\n".join(written),
        )
        for each, ids, own, written in zip(
            pack, answers, losses.cpu().split(num_labels), texts, strict=True
        )
    ]
    return Answers(predictions, texts)


def _remember(transcriber: Remembering, pack: Sequence[_Ready], answers: Answers) -> None:
    """Takes over what was heard, for rows to come that ask about the same clips."""
    for each, texts in zip(pack, answers.written_down, strict=True):
        transcriber.remember(utterances_of(each.row, each.clips), texts)


def _written_down(
    trained: Trained, pack: Sequence[_Ready], transcriber: Remembering
) -> tuple[list[_Ready], list[list[str]]]:
    """Returns rows whose text side holds what a transcriber wrote, and what it wrote of each."""
    utterances = [utterances_of(each.row, each.clips) for each in pack]
    written = iter(transcriber([each for found in utterances for each in found]))
    rows, texts = [], []
    for each, found in zip(pack, utterances, strict=True):
        own = [next(written) for _ in found]
        row = as_written_down(each.row, own)
        forced = encode_row(
            row,
            clips=each.clips,
            renderer=trained.renderer,
            geometry=trained.model.geometry,
            twin=True,
        )
        rows.append(replace(each, row=row, forced=forced, read=_read(trained, row)))
        texts.append(own)
    return rows, texts


def _model_name(model: str) -> str:
    """Returns a model's name without the folders of this machine."""
    path = Path(model)
    return path.name if is_folder(path) else model


def _prediction(  # noqa: PLR0913 - a line of the file
    row: Row,
    *,
    side: str,
    text: str,
    num_tokens: int,
    max_tokens: int,
    losses: torch.Tensor,
    model: str,
    written: str,
) -> Prediction:
    values = row.extra
    return Prediction(
        sample_id=row.sample_id,
        side=side,
        task=row.task,
        reference=values["response"],
        prediction=text,
        task_params=values["task_params"],
        kind=row.kind,
        variant=values["variant"],
        instruction_id=values["instruction_id"],
        language=values["language"],
        response_language=values["response_language"],
        split=values["split"],
        eval_group=values["eval_group"],
        transcript=values["transcript"],
        transcript_prepared=values["transcript_prepared"],
        finish_reason="length" if num_tokens >= max_tokens else "stop",
        reference_finish_reason="stop" if row.is_complete else "length",
        num_tokens=num_tokens,
        nll=float(losses.double().sum()),
        nll_tokens=len(losses),
        model=model,
        written_down=written,
    )
