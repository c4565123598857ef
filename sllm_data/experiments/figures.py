"""What a training came to: figures from what its model answered, and from what was seen inside.

Each is a mean over tasks, so that one with many rows counts no more than another.
"""

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.copying import is_anchored
from sllm_data.evaluation.predictions import Prediction
from sllm_data.experiments.arms import Outcome
from sllm_data.words import words

_LAST_LAYERS = 2
_TIMED_LENGTHS = (4, 64)  # of answers, in tokens: a label and a long text

_LOSSES = ("1.0", "0.5", "0.2")

TRANSCRIPTION = "transcription"
"""The task that writes down what is heard."""

FIGURES: Mapping[str, str] = {
    "anchor_speech": "share of answers to speech that copy the transcript, other tasks than that",
    "anchor_text": "the same, of the same model on text",
    "transcription": "exact transcripts of speech",
    "exact_speech": "exact answers to speech, mean of the other tasks of the training",
    "exact_text": "the same, of the same model on text",
    "exact_trained": "as exact_speech, of the tasks that this arm was trained on",
    "exact_untrained": "as exact_speech, of those that only other arms were trained on",
    "unseen_voices": "as exact_speech, by voices that were held out",
    "held_out_instruction": "exact answers to speech in wordings that were held out",
    "wording_ratio": "held_out_instruction over exact_speech",
    "held_out_task": "exact answers to speech, mean of the tasks that were held out",
    "held_out_task_text": "the same, of the same model on text",
    "task_ratio": "held_out_task over held_out_task_text",
    "text_retention": "exact answers on text, all tasks, over those of the backbone",
    "first_speech": "share of attention that the instruction gets of what instruction and speech "
    "get, first layer",
    "first_text": "the same, of the same model on text",
    "first_backbone": "the same, of the backbone on text",
    "instruction_speech": "as first_speech, mean of the last two layers",
    "instruction_text": "the same, of the same model on text",
    "instruction_backbone": "the same, of the backbone on text",
    "saliency_speech": "as instruction_speech, of saliency",
    "saliency_backbone": "as instruction_backbone, of saliency",
    "alignment": "CKA of the states of speech and of text behind the last layer",
    "as_it_is": "loss of the right answer, nats a token",
    "other_instruction": "what another instruction adds to it",
    "no_instruction": "what no instruction adds",
    "silence": "what silence in place of the speech adds",
    "other_speech": "what other speech adds",
    **{
        f"steps_to_{loss}": "steps until the loss on all tasks, heard whole, of rows that are not "
        f"trained is {loss} nats a token or less"
        for loss in _LOSSES
    },
    "exact_cascade": "as exact_speech, of the backbone that reads what the encoder wrote down",
    "held_out_task_cascade": "as held_out_task, of the same",
    **{
        f"{name}_{length}": "seconds of the cascade over those of the model that hears, "
        f"answers of {length} tokens, {rows}"
        for name, rows in (("time_one", "one at a time"), ("time_many", "many at once"))
        for length in _TIMED_LENGTHS
    },
}
"""What is compared, and what it means. Voices are those of the training where not said."""

DRAWN: Mapping[str, str] = {
    "anchor_speech": "copies of the transcript, speech",
    "transcription": "exact transcripts",
    "exact_speech": "exact answers, speech",
    "exact_text": "exact answers, text",
    "unseen_voices": "exact answers, held-out voices",
    "held_out_task": "exact answers, held-out tasks",
    "text_retention": "text skills kept",
    "exact_cascade": "exact answers, cascade",
    "exact_trained": "exact answers, trained tasks",
    "exact_untrained": "exact answers, tasks that only others train",
    "first_speech": "first layer",
    "first_backbone": "the backbone's",
    "instruction_speech": "last two layers",
    "instruction_backbone": "the backbone's last two",
}
"""Names in pictures."""

_SCORING = EvaluationConfig()
LENGTHS: Mapping[str, float] = {"1": 1, "2 to 4": 4, "5 to 8": 8, "9 and more": math.inf}
"""Words of an answer, and how many at most."""

_CHANGES = ("other instruction", "no instruction", "silence", "other speech")
_UNHEARD = re.compile(r"/test-unseen-voices/")  # of an audio_id: a subset of the world's corpora


def figures_of(outcome: Outcome) -> dict[str, float | None]:
    """Returns the figures of one training; None where nothing was asked."""
    known = [
        each for each in outcome.answers if not _UNHEARD.search(outcome.heard[each.sample_id])
    ]
    unheard = [each for each in outcome.answers if _UNHEARD.search(outcome.heard[each.sample_id])]
    trained = [each for each in known if each.eval_group == "train"]
    others = [each for each in trained if each.task != TRANSCRIPTION]
    new_wording = _other(known, "held_out_instruction")
    new_task = _other(known, "held_out_task")
    own = [each for each in others if not outcome.arm.tasks or each.task in outcome.arm.tasks]
    foreign = [each for each in others if each not in own]
    inside = outcome.inside or {}
    exact, worded = _exact(others, "speech"), _exact(new_wording, "speech")
    task, task_text = _exact(new_task, "speech"), _exact(new_task, "text")
    on_text, before = _exact(known, "text"), _exact(known, "backbone")
    return {
        "anchor_speech": _anchor(others, "speech"),
        "anchor_text": _anchor(others, "text"),
        "transcription": _exact(
            [each for each in trained if each.task == TRANSCRIPTION], "speech"
        ),
        "exact_speech": exact,
        "exact_text": _exact(others, "text"),
        "exact_trained": _exact(own, "speech"),
        "exact_untrained": _exact(foreign, "speech"),
        "unseen_voices": _exact(_other(unheard, "train"), "speech"),
        "held_out_instruction": worded,
        "wording_ratio": _ratio(worded, exact),
        "held_out_task": task,
        "held_out_task_text": task_text,
        "task_ratio": _ratio(task, task_text),
        "text_retention": _ratio(on_text, before),
        **_attention(inside.get("attention", {})),
        "alignment": inside["cka"][-1] if inside else None,
        **{name.replace(" ", "_"): _loss(inside, name) for name in ("as it is", *_CHANGES)},
        **{f"steps_to_{loss}": _steps_to(float(loss), outcome.losses) for loss in _LOSSES},
        "exact_cascade": _exact(others, "cascade"),
        "held_out_task_cascade": _exact(new_task, "cascade"),
        **_times(outcome.latency),
    }


def _steps_to(loss: float, losses: Mapping[int, float]) -> float | None:
    """Returns the first step that was asked about and whose loss is low enough."""
    return next((float(step) for step in sorted(losses) if losses[step] <= loss), None)


def _times(latency: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:  # Any: JSON
    """Returns how many times as long a cascade takes, of one answer and of many at once."""
    found: dict[str, float | None] = {}
    for place, name in enumerate(("time_one", "time_many")):
        measured = latency[place] if place < len(latency) else {"lengths": ()}
        for length in _TIMED_LENGTHS:
            at = measured["lengths"].index(length) if length in measured["lengths"] else None
            found[f"{name}_{length}"] = (
                None if at is None else measured["cascade"][at] / measured["speech"][at]
            )
    return found


def _attention(sides: Mapping[str, Any]) -> dict[str, float | None]:  # Any: JSON
    def last(side: str, name: str) -> float | None:
        if side not in sides:
            return None
        return statistics.fmean(sides[side][name][-_LAST_LAYERS:])

    return {
        **{
            f"first_{side}": sides[side]["share"][0] if side in sides else None
            for side in ("speech", "text", "backbone")
        },
        "instruction_speech": last("speech", "share"),
        "instruction_text": last("text", "share"),
        "instruction_backbone": last("backbone", "share"),
        "saliency_speech": last("speech", "saliency_share"),
        "saliency_backbone": last("backbone", "saliency_share"),
    }


def _ratio(value: float | None, over: float | None) -> float | None:
    return value / over if value is not None and over else None


def _loss(inside: Mapping[str, Any], name: str) -> float | None:  # Any: JSON
    value: float | None = inside["losses"][name]["value"] if inside else None
    return value


def _other(answers: Sequence[Prediction], eval_group: str) -> list[Prediction]:
    return [
        each for each in answers if each.eval_group == eval_group and each.task != TRANSCRIPTION
    ]


def _anchor(answers: Sequence[Prediction], side: str) -> float | None:
    told = [copies(each) for each in answers if each.side == side]
    known = [each for each in told if each is not None]
    return statistics.fmean(known) if known else None


def _exact(answers: Sequence[Prediction], side: str) -> float | None:
    """Returns the mean over tasks of the share of exact answers."""
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for each in answers:
        if each.side == side:
            right[each.task].append(is_exact(each))
    return statistics.fmean(map(statistics.fmean, right.values())) if right else None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskScore:
    """Exact answers of one task in one group, of voices of the training where not said."""

    task: str
    group: str
    """train, held_out_instruction, held_out_task; or `unseen voices`."""
    side: str
    rows: int
    exact: float


def scores_of(outcome: Outcome) -> list[TaskScore]:
    """Returns the share of exact answers by task, group and side."""
    right: defaultdict[tuple[str, str, str], list[bool]] = defaultdict(list)
    for each in outcome.answers:
        unheard = _UNHEARD.search(outcome.heard[each.sample_id])
        group = "unseen voices" if unheard else each.eval_group
        right[group, each.task, each.side].append(is_exact(each))
    return [
        TaskScore(
            task=task, group=group, side=side, rows=len(found), exact=statistics.fmean(found)
        )
        for (group, task, side), found in sorted(right.items())
    ]


def by_length(outcome: Outcome, side: str) -> dict[str, tuple[int, float]]:
    """Returns rows and the share of exact answers by the words of the right answer."""
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for each in outcome.answers:
        if each.side == side:
            length = len(words(each.reference))
            name = next(name for name, most in LENGTHS.items() if length <= most)
            right[name].append(is_exact(each))
    return {
        name: (len(right[name]), statistics.fmean(right[name])) for name in LENGTHS if right[name]
    }


def is_exact(answer: Prediction) -> bool:
    """Whether an answer has the words of the right one."""
    return words(answer.prediction) == words(answer.reference)


def copies(answer: Prediction) -> bool | None:
    """Whether an answer copies the transcript; None where the right one would, too."""
    return is_anchored(answer, _SCORING)


def over_seeds(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Estimate]]:
    """Returns for each arm its figures: the mean over seeds, from the lowest to the highest."""
    found: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        of_arm = found.setdefault(outcome.arm.name, {name: [] for name in FIGURES})
        for name, value in figures_of(outcome).items():
            if value is not None:
                of_arm[name].append(value)
    return {
        arm: {name: _spread(values) for name, values in figures.items()}
        for arm, figures in found.items()
    }


def _spread(values: Sequence[float]) -> Estimate:
    if not values:
        return Estimate(value=None, rows=0)
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(value=mean, rows=1)
    return Estimate(value=mean, low=min(values), high=max(values), rows=len(values))
