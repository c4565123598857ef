"""Answers for tests, without a model."""

from typing import Any

from sllm_data.evaluation.config import BootstrapConfig, EvaluationConfig
from sllm_data.evaluation.following import Judged, judge
from sllm_data.evaluation.measures import METRICS
from sllm_data.evaluation.predictions import Prediction

CONFIG = EvaluationConfig(bootstrap=BootstrapConfig(resamples=200))
SENTENCE = "anna sold three red lamps at the market"


def answer(prediction: str = SENTENCE, **fields: Any) -> Prediction:
    values: dict[str, Any] = {
        "sample_id": "0",
        "side": "speech",
        "task": "transcription",
        "reference": SENTENCE,
        "transcript": SENTENCE,
        "language": "en",
        "response_language": "en",
    }
    return Prediction(prediction=prediction, **(values | fields))


def judged(prediction: str = SENTENCE, **fields: Any) -> Judged:
    return judge(answer(prediction, **fields), CONFIG)


def score(name: str, *answers: Prediction, config: EvaluationConfig = CONFIG) -> float | None:
    """A metric over some answers, as the tables compute it."""
    metric = METRICS[name]
    found = [metric.counts(judge(each, config), config) for each in answers]
    counts = [each for each in found if each is not None]
    return metric.score([sum(column) for column in zip(*counts, strict=True)]) if counts else None
