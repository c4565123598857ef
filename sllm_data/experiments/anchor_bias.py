"""Does training on transcripts alone make a model transcribe whatever it is asked?

And do answers of the backbone cure it? Self-Powered LSM (arXiv 2410.03798) says so of models of
7B and 960 hours; here the small spoken world answers, where each task has one right answer. All
arms hear the same audio for the same number of steps; they differ in what is answered there and
in how far the LLM may move.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.experiments.arms import Arm, Outcome

_TRANSCRIPTION = "transcription"
_LORA = {"mode": "lora", "lora": {"rank": 8, "alpha": 16}}

CORE = (
    Arm(
        name="transcripts-full",
        means="transcripts only, all of the LLM trained",
        tasks=(_TRANSCRIPTION,),
        llm={"mode": "full"},
        llm_rate=7e-4,
    ),
    Arm(
        name="self-powered-full",
        means="the backbone's answers, all of the LLM trained",
        llm={"mode": "full"},
        llm_rate=7e-4,
    ),
    Arm(
        name="transcripts-lora",
        means="transcripts only, LoRA",
        tasks=(_TRANSCRIPTION,),
        llm=_LORA,
        llm_rate=2e-3,
    ),
    Arm(name="self-powered-lora", means="the backbone's answers, LoRA", llm=_LORA, llm_rate=2e-3),
)
"""What shows the effect, and the cure."""

FIGURES: Mapping[str, str] = {
    "anchor_speech": "share of answers to speech that copy the transcript, other tasks than that",
    "anchor_text": "the same, of the same model on text",
    "transcription": "exact transcripts of speech",
    "exact_speech": "exact answers to speech, mean of the other tasks of the training",
    "exact_text": "the same, of the same model on text",
    "held_out_instruction": "exact answers to speech in wordings that were held out",
    "held_out_task": "exact answers to speech, mean of the tasks that were held out",
    "held_out_task_text": "the same, of the same model on text",
}
"""What is compared, and what it means."""


def figures_of(outcome: Outcome) -> dict[str, float | None]:
    """Returns the figures of one training."""
    cells = outcome.figures["cells"]
    return {
        "anchor_speech": _anchor(outcome.figures["groups"], "speech"),
        "anchor_text": _anchor(outcome.figures["groups"], "text"),
        "transcription": _exact(cells, "speech", "train", only=True),
        "exact_speech": _exact(cells, "speech", "train"),
        "exact_text": _exact(cells, "text", "train"),
        "held_out_instruction": _exact(cells, "speech", "held_out_instruction"),
        "held_out_task": _exact(cells, "speech", "held_out_task"),
        "held_out_task_text": _exact(cells, "text", "held_out_task"),
    }


def _anchor(groups: Sequence[Mapping[str, Any]], side: str) -> float | None:  # Any: JSON
    for group in groups:
        if group["side"] == side and group["eval_group"] == "train":
            value: float | None = group["anchor"]["value"]
            return value
    return None


def _exact(
    cells: Sequence[Mapping[str, Any]],  # Any: JSON
    side: str,
    eval_group: str,
    *,
    only: bool = False,
) -> float | None:
    found = [
        cell["scores"]["exact_match"]["value"]
        for cell in cells
        if cell["side"] == side
        and cell["eval_group"] == eval_group
        and cell["task_params"] is None
        and (cell["task"] == _TRANSCRIPTION) == only
        and "exact_match" in cell["scores"]
    ]
    known = [value for value in found if value is not None]
    return statistics.fmean(known) if known else None


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
