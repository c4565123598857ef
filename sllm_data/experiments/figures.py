"""What a training came to: figures from what its model answered, and from what was seen inside.

Each is a mean over tasks, so that one with many rows counts no more than another.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
    "unseen_voices": "as exact_speech, by voices that were held out",
    "held_out_instruction": "exact answers to speech in wordings that were held out",
    "held_out_task": "exact answers to speech, mean of the tasks that were held out",
    "held_out_task_text": "the same, of the same model on text",
    "text_retention": "exact answers on text, all tasks, over those of the backbone",
    "instruction_speech": "share of attention that the instruction gets of what instruction and "
    "speech get, mean of the last two layers",
    "instruction_text": "the same, of the same model on text",
    "instruction_backbone": "the same, of the backbone on text",
    "saliency_speech": "as instruction_speech, of saliency",
    "saliency_backbone": "as instruction_backbone, of saliency",
    "alignment": "CKA of the states of speech and of text behind the last layer",
    "other_instruction": "what another instruction adds to the loss of the right answer, nats a "
    "token",
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
    "instruction_speech": "speech",
    "instruction_text": "text",
    "instruction_backbone": "backbone on text",
}
"""Names in pictures."""

_SCORING = EvaluationConfig()
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
    inside = outcome.inside or {}
    on_text, before = _exact(known, "text"), _exact(known, "backbone")
    return {
        "anchor_speech": _anchor(others, "speech"),
        "anchor_text": _anchor(others, "text"),
        "transcription": _exact(
            [each for each in trained if each.task == TRANSCRIPTION], "speech"
        ),
        "exact_speech": _exact(others, "speech"),
        "exact_text": _exact(others, "text"),
        "unseen_voices": _exact(_other(unheard, "train"), "speech"),
        "held_out_instruction": _exact(new_wording, "speech"),
        "held_out_task": _exact(new_task, "speech"),
        "held_out_task_text": _exact(new_task, "text"),
        "text_retention": on_text / before if on_text is not None and before else None,
        **_attention(inside.get("attention", {})),
        "alignment": inside["cka"][-1] if inside else None,
        **{name.replace(" ", "_"): _added(inside, name) for name in _CHANGES},
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
        "instruction_speech": last("speech", "share"),
        "instruction_text": last("text", "share"),
        "instruction_backbone": last("backbone", "share"),
        "saliency_speech": last("speech", "saliency_share"),
        "saliency_backbone": last("backbone", "saliency_share"),
    }


def _added(inside: Mapping[str, Any], name: str) -> float | None:  # Any: JSON
    value: float | None = inside["losses"][name]["value"] if inside else None
    return value


def _other(answers: Sequence[Prediction], eval_group: str) -> list[Prediction]:
    return [
        each for each in answers if each.eval_group == eval_group and each.task != TRANSCRIPTION
    ]


def _anchor(answers: Sequence[Prediction], side: str) -> float | None:
    told = [is_anchored(each, _SCORING) for each in answers if each.side == side]
    known = [each for each in told if each is not None]
    return statistics.fmean(known) if known else None


def _exact(answers: Sequence[Prediction], side: str) -> float | None:
    """Returns the mean over tasks of the share of exact answers."""
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for each in answers:
        if each.side == side:
            right[each.task].append(words(each.prediction) == words(each.reference))
    return statistics.fmean(map(statistics.fmean, right.values())) if right else None


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
