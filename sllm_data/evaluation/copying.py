"""Anchor bias: the answer is the transcript, though something else was asked.

A model that was trained on transcripts alone takes the speech for the instruction and writes
down what it heard. Here that is counted strictly: an answer that is as near to the right one
as to the transcript is no sign of it.
"""

from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.predictions import Prediction
from sllm_data.filtering.measures import copy_rate
from sllm_data.words import size_in_words, words


def is_anchored(prediction: Prediction, config: EvaluationConfig) -> bool | None:
    """Tells whether an answer copies the transcript where it should not.

    1. Nothing is told of a task whose right answer may be the transcript, of a transcript that
       is too short, and of a row whose reference is a copy itself.
    2. An answer is a copy from a copy rate of `max_copy_rate` on. A copy rate of 0.8 is a word
       error rate of 0.2 to the transcript where words were replaced.
    3. A copy is no anchor where it has at least as much in common with the reference.

    Returns:
        None where nothing is told.
    """
    scoring, anchor = config.scoring(prediction.task), config.anchor
    if scoring.may_copy:
        return None
    heard, reference = words(prediction.heard), words(prediction.reference)
    right_rate = copy_rate(reference, heard)
    if right_rate is None or size_in_words(heard) < anchor.min_words:
        return None
    if right_rate >= anchor.max_copy_rate:
        return None
    said = words(prediction.prediction)
    rate = copy_rate(said, heard) or 0.0
    return rate >= anchor.max_copy_rate and rate > (copy_rate(said, reference) or 0.0)
