"""The metrics: each turns one answer into counts, and summed counts into a score.

Everything is a ratio of sums or a score of summed counts, so rows can be drawn again for an
interval without looking at any text twice. A row that a metric says nothing about gives None
and is not counted for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sllm_data.evaluation import units
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.following import Judged
from sllm_data.evaluation.labels import f1, keywords_in, label_in
from sllm_data.evaluation.predictions import JUDGE_BEST
from sllm_data.evaluation.translation import bleu_counts, bleu_score, chrf_counts, chrf_score
from sllm_data.filtering.measures import copy_rate
from sllm_data.words import words

Counts = tuple[float, ...]
_POINTS = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric."""

    meaning: str
    counts: Callable[[Judged, EvaluationConfig], Counts | None]
    """Of one answer; always as many. None where the metric says nothing about it."""
    score: Callable[[Sequence[float]], float | None]
    """Of the sums of counts; None where there is nothing to divide by."""
    perfect: float = 1.0
    """The best score."""
    more_is_better: bool = True


def ratio(sums: Sequence[float]) -> float | None:
    """Returns the first sum divided by the second."""
    return sums[0] / sums[1] if sums[1] else None


def _mean(value: float | bool | None) -> Counts | None:  # noqa: FBT001 - a value, no switch
    return None if value is None else (float(value), 1.0)


def _edits(reference: list[str], prediction: list[str]) -> Counts:
    """Returns words replaced, left out and added, and words of the reference."""
    import jiwer  # noqa: PLC0415 - its import takes a quarter of a second

    # jiwer cuts at single spaces, and ours may hold any other white space of the answer
    found = jiwer.process_words(" ".join(reference), " ".join(prediction))
    edits = found.substitutions + found.deletions + found.insertions
    return float(edits), float(len(reference))


def _wer_raw(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    if units.is_written_without_spaces(row.answer.reference):
        return None
    return _edits(
        units.raw(row.answer.reference, characters=False),
        units.raw(row.answer.prediction, characters=False),
    )


def _normalised_edits(row: Judged, *, characters: bool) -> Counts:
    reference, prediction = (
        units.normalised(text, language=row.answer.response_language, characters=characters)
        for text in (row.answer.reference, row.answer.prediction)
    )
    return _edits(reference, prediction)


def _wer(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    if units.is_written_without_spaces(row.answer.reference):
        return None
    return _normalised_edits(row, characters=False)


def _cer(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    if not units.is_written_without_spaces(row.answer.reference):
        return None
    return _normalised_edits(row, characters=True)


def _word_accuracy(row: Judged, config: EvaluationConfig) -> Counts | None:
    return _wer(row, config) or _cer(row, config)


def _accuracy(sums: Sequence[float]) -> float | None:
    rate = ratio(sums)
    return None if rate is None else max(0.0, 1.0 - rate)


def _exact(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    reference, prediction = words(row.answer.reference), words(row.answer.prediction)
    if reference:
        return _mean(reference == prediction)
    return _mean(row.answer.reference.split() == row.answer.prediction.split())  # of symbols alone


def _exact_raw(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    return _mean(row.answer.reference == row.answer.prediction)


def _label(row: Judged, config: EvaluationConfig) -> Counts | None:
    labels = config.scoring(row.answer.task).labels
    right = label_in(row.answer.reference, labels)
    return None if right is None else _mean(label_in(row.answer.prediction, labels) == right)


def _keywords(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    wanted = keywords_in(row.answer.reference)
    return _mean(f1(keywords_in(row.answer.prediction), wanted)) if wanted else None


def _rouge(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    return _mean(copy_rate(words(row.answer.prediction), words(row.answer.reference)))


def _bleu(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    if not row.answer.reference.strip():
        return None
    return bleu_counts(
        row.answer.prediction, row.answer.reference, language=row.answer.response_language
    )


def _chrf(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    return (
        chrf_counts(row.answer.prediction, row.answer.reference)
        if row.answer.reference.strip()
        else None
    )


def _is_json(row: Judged, config: EvaluationConfig) -> Counts | None:
    if not config.scoring(row.answer.task).expects_json:
        return None
    return _mean(row.broken_rule != "broken_json")


def _finished(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    return _mean(row.answer.finish_reason != "length")


def _length(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    return float(len(words(row.answer.prediction))), float(len(words(row.answer.reference)))


def _follows(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    return _mean(row.broken_rule is None)


def _anchored(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    return _mean(row.is_anchored)


def _limits(row: Judged, config: EvaluationConfig) -> Counts | None:
    limits = config.limits_of(row.answer.instruction_id)
    return None if limits is None else _mean(limits.are_kept(row.answer.prediction))


def _judge(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    score = row.answer.judge_score
    return None if score is None else _mean((score - 1) / (JUDGE_BEST - 1))


def _nll(row: Judged, config: EvaluationConfig) -> Counts | None:
    del config
    if row.answer.nll is None or not row.answer.nll_tokens:
        return None
    return row.answer.nll, float(row.answer.nll_tokens)


METRICS: Mapping[str, Metric] = {
    "wer_raw": Metric(
        meaning="word errors to the reference, as written",
        counts=_wer_raw,
        score=ratio,
        perfect=0.0,
        more_is_better=False,
    ),
    "wer": Metric(
        meaning="word errors, both normalised",
        counts=_wer,
        score=ratio,
        perfect=0.0,
        more_is_better=False,
    ),
    "cer": Metric(
        meaning="character errors, both normalised, in scripts without spaces",
        counts=_cer,
        score=ratio,
        perfect=0.0,
        more_is_better=False,
    ),
    "word_accuracy": Metric(
        meaning="1 less the normalised error rate, 0 at least",
        counts=_word_accuracy,
        score=_accuracy,
    ),
    "bleu": Metric(meaning="BLEU", counts=_bleu, score=bleu_score, perfect=_POINTS),
    "chrf": Metric(meaning="chrF2", counts=_chrf, score=chrf_score, perfect=_POINTS),
    "rouge_l": Metric(
        meaning="ROUGE-L F1: words in common and in order", counts=_rouge, score=ratio
    ),
    "exact_match_raw": Metric(
        meaning="character by character the reference", counts=_exact_raw, score=ratio
    ),
    "exact_match": Metric(
        meaning="the reference but for casing and punctuation", counts=_exact, score=ratio
    ),
    "label_accuracy": Metric(meaning="names the right label", counts=_label, score=ratio),
    "keyword_f1": Metric(
        meaning="items of the list in common with the reference", counts=_keywords, score=ratio
    ),
    "json_valid": Metric(meaning="is JSON where JSON was asked for", counts=_is_json, score=ratio),
    "finished": Metric(meaning="was not cut off", counts=_finished, score=ratio),
    "length_ratio": Metric(
        meaning="words of the answers over those of the references", counts=_length, score=ratio
    ),
    "limits": Metric(
        meaning="keeps to the length and form that its wording asks for",
        counts=_limits,
        score=ratio,
    ),
    "judge": Metric(
        meaning="what a judge makes of it: 0 where it does not do what was asked, 1 where it does "
        "all of it",
        counts=_judge,
        score=ratio,
    ),
    "following": Metric(
        meaning="breaks no rule that can be checked", counts=_follows, score=ratio
    ),
    "anchor": Metric(
        meaning="copies of the transcript where something else was asked",
        counts=_anchored,
        score=ratio,
        perfect=0.0,
        more_is_better=False,
    ),
    "nll": Metric(
        meaning="nats for each token of the reference, forced",
        counts=_nll,
        score=ratio,
        perfect=0.0,
        more_is_better=False,
    ),
}

ALWAYS = (
    *("following", "anchor", "json_valid", "limits", "finished", "length_ratio", "judge", "nll"),
)
"""Metrics of every task, beside those of its scoring."""


def metrics_of(task: str, config: EvaluationConfig) -> tuple[str, ...]:
    """Returns the metrics of a task, the main one first, each once."""
    scoring = config.scoring(task)
    return tuple(dict.fromkeys((scoring.main, *scoring.metrics, *ALWAYS)))
