"""A trained model and a dataset become predictions.

Rows are asked in packs of a budget of positions, on every side: the answer is generated, greedy,
and the reference is forced to see how unlikely it is. What is heard, read and decoded goes
through the renderer, features and packs of the training.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from sllm_data.audio.decode import OverlongAudioError, UndecodableAudioError
from sllm_data.errors import ConfigError, ShardError
from sllm_data.evaluation.backbone import as_backbone
from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.evaluation.predictions import SIDES, Prediction
from sllm_data.evaluation.probing.diagnosing import Diagnostics, diagnose
from sllm_data.evaluation.probing.rows import chosen_probes
from sllm_data.evaluation.rows import Skipped, chosen_rows
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
from sllm_data.trainer.data.pages import Clips
from sllm_data.trainer.data.reading import Row
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.trained import Trained


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """A row, ready to be asked."""

    row: Row
    forced: HeardRow
    """With its labels and its twin."""
    prompts: dict[str, HeardRow]
    """By side: the question alone."""

    @property
    def num_positions(self) -> int:
        return max(len(prompt.row.text) for prompt in self.prompts.values())


def ask(
    trained: Trained,
    asking: Asking,
    *,
    name: str,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[list[Prediction], list[Skipped]]:
    """Asks a model the rows of a dataset.

    Args:
        trained: The model.
        asking: Which rows, which sides.
        name: Of the model, for the predictions.
        watch: Called with the rows that are done and their number.

    Returns:
        Predictions by sample and side, and the rows that could not be asked with the reason.

    Raises:
        ShardError: The dataset can't be used, or not one of its rows can.
        ModelError: The backbone is not where it was.
    """
    rows, skipped = chosen_rows(asking.dataset, split=_split(asking), limit=asking.limit)
    predictions: list[Prediction] = []
    total = len(rows) + len(skipped)
    done = 0
    for pack in _packs(trained, asking, rows, skipped):
        found = {side: _answers(trained, asking, pack, side, name) for side in asking.sides}
        for answers in zip(*found.values(), strict=True):
            predictions += answers
        done += len(pack)
        watch(done + len(skipped), total)
    if not predictions:
        raise ShardError(
            f"{asking.dataset}: must hold a row that can be asked, none of {total:,} can; "
            f"the first: {skipped[0].sample_id}: {skipped[0].reason}"
        )
    return predictions, skipped


def look_into(
    trained: Trained, asking: Asking, skipped: Sequence[Skipped], config: BootstrapConfig
) -> Diagnostics:
    """Looks into a model on the first rows of each task.

    Args:
        trained: The model.
        asking: Which rows, and how many.
        skipped: Rows that can't be asked; they are passed over.
        config: Of the intervals.

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
    return diagnose(trained, probes, config)


def _split(asking: Asking) -> Split:
    (found,) = (each for each in get_args(Split) if each == asking.split)
    split: Split = found
    return split


def _packs(
    trained: Trained, asking: Asking, rows: Sequence[Row], skipped: list[Skipped]
) -> Iterator[list[_Ready]]:
    """Yields rows that are asked at once; those that can't be asked go to `skipped`."""
    clips = Clips(asking.dataset)
    pack: list[_Ready] = []
    try:
        for row in rows:
            try:
                ready = _ready(trained, asking, row, clips)
            except (ShardError, UndecodableAudioError, OverlongAudioError) as error:
                skipped.append(Skipped(sample_id=row.sample_id, reason=str(error)))
                continue
            used = sum(each.num_positions for each in pack)
            if pack and used + ready.num_positions > asking.budget:
                yield pack
                pack = []
            pack.append(ready)
        if pack:
            yield pack
    finally:
        clips.close()


def _ready(trained: Trained, asking: Asking, row: Row, clips: Clips) -> _Ready:
    model, renderer, _ = trained
    heard = clips.clips_of(row.audio_refs)
    geometry = model.geometry
    prompts = {}
    for side in asking.sides:
        if side == "speech":
            prompts[side] = encode_prompt(
                question_of(row),
                clips=heard,
                gains_db=row.gains_db,
                renderer=renderer,
                geometry=geometry,
                sample_id=row.sample_id,
            )
        else:
            prompts[side] = encode_prompt(
                read_question_of(row),
                renderer=renderer,
                geometry=geometry,
                sample_id=row.sample_id,
            )
    forced = encode_row(row, clips=heard, renderer=renderer, geometry=geometry, twin=True)
    return _Ready(row=row, forced=forced, prompts=prompts)


def _answers(
    trained: Trained, asking: Asking, pack: Sequence[_Ready], side: str, name: str
) -> list[Prediction]:
    model, renderer, config = trained
    prompts = prompts_batch([each.prompts[side] for each in pack]).to(model.device)
    forced = prompts_batch([each.forced for each in pack]).to(model.device)
    is_backbone = side == "backbone"
    with as_backbone(model) if is_backbone else nullcontext():
        answers = answer(model, prompts, max_tokens=asking.max_tokens, stop_ids=renderer.stop_ids)
        losses = model.label_losses(forced, twin=side != "speech")
    num_labels = [len(each.forced.row.text.labels) for each in pack]
    return [
        _prediction(
            each.row,
            side=side,
            text=renderer.decode(ids),
            num_tokens=len(ids),
            max_tokens=asking.max_tokens,
            losses=own,
            model=_model_name(config.llm.model) if is_backbone else name,
        )
        for each, ids, own in zip(pack, answers, losses.cpu().split(num_labels), strict=True)
    ]


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
    )
