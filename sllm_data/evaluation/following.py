"""Whether an answer keeps to its instruction as far as that can be checked by rule.

No judge and no right answer: the answer is whole and not empty, refuses nothing, does not run
in a loop, is in the language that was asked for, is JSON or one of the labels where that was
asked for, holds nothing of the chat template, and is no copy of the transcript where something
else was asked. A rule that the row's own reference breaks is not held against the answer.
"""

from dataclasses import dataclass

from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.copying import is_anchored
from sllm_data.evaluation.labels import label_in
from sllm_data.evaluation.predictions import Prediction
from sllm_data.filtering.verdicts import Answer, judge_response

COPIED = "copied_transcript"
NO_LABEL = "no_label"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """An answer with the two verdicts that several metrics need."""

    answer: Prediction
    broken_rule: str | None
    """The first rule that it breaks, by the names of `records.Reason`; None for none."""
    is_anchored: bool | None
    """Whether it is a copy of the transcript that should be none; None where that can't be
    told of the row."""


def judge(answer: Prediction, config: EvaluationConfig) -> Judged:
    """Looks at one answer."""
    anchored = is_anchored(answer, config)
    rule = _broken_check(answer, config)
    if rule is None and anchored:
        rule = COPIED
    if rule is None and _lacks_label(answer, config):
        rule = NO_LABEL
    return Judged(answer=answer, broken_rule=rule, is_anchored=anchored)


def _broken_check(answer: Prediction, config: EvaluationConfig) -> str | None:
    found = _reason(answer, answer.prediction, answer.finish_reason, config)
    if found is None:
        return None
    right = _reason(answer, answer.reference, answer.reference_finish_reason, config)
    return None if right == found else found


def _lacks_label(answer: Prediction, config: EvaluationConfig) -> bool:
    labels = config.scoring(answer.task).labels
    return (
        label_in(answer.reference, labels) is not None
        and label_in(answer.prediction, labels) is None
    )


def _reason(
    prediction: Prediction, text: str, finish_reason: str, config: EvaluationConfig
) -> str | None:
    scoring = config.scoring(prediction.task)
    answer = Answer(
        text=text,
        finish_reason=finish_reason,
        transcript=prediction.heard,
        task=prediction.task,
        may_copy=scoring.may_copy,
        expects_json=scoring.expects_json,
        expected_language=prediction.response_language,
    )
    reason = judge_response(answer, config.checks).reason
    return None if reason is None else reason.value
