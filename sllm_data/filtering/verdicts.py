"""The verdict on one response: what was measured, and why it is dropped if it is.

A pure function of the answer and the configuration. All measures are taken whether or not
their switch is on, so that a dataset can be filtered more strictly later without asking the
backbone again. Rows whose response is the corpus's own transcript are not for these verdicts:
nobody generated them.
"""

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from sllm_data.filtering.boilerplate import leak_in, refusal_in
from sllm_data.filtering.config import FilterConfig
from sllm_data.filtering.language import UNDETERMINED, detect_language, language_code
from sllm_data.filtering.measures import Loop, copy_rate, find_loop
from sllm_data.records import Quality, Reason
from sllm_data.words import is_list, size_in_letters, size_in_words, words

_FENCE = "```"
_DETAIL_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A response with what is known of its request; the input of all verdicts."""

    text: str
    """The response."""
    finish_reason: str
    """stop or length."""
    transcript: str
    """The transcript as the backbone was shown it."""
    task: str
    may_copy: bool
    """Whether the transcript is a right answer: transcription, repetition."""
    expects_json: bool = False
    """Whether the task asks for JSON."""
    expected_language: str | None = None
    """Code or locale of the language to answer in; None where any will do."""
    control_strings: tuple[str, ...] = ()
    """The model's control tokens as text."""
    mean_logprob: float | None = None
    judge_score: int | None = None
    """From 1 to 5; None where there was no judge or its score could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What was found: the measures, and the reason where the response is dropped."""

    quality: Quality
    """Its `verdict` is kept, truncated (kept with that mark), or the reason's value."""
    reason: Reason | None
    """None where the response is kept."""
    detail: str
    """One line on what was found; empty where the response is kept."""
    language: str
    """The response's language where it is sure, else the expected one, else `und`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    transcript_words: list[str]
    copy_rate: float | None
    loop: Loop
    expected: str | None
    """Two-letter code; None where none is expected or lingua does not know it."""
    likeliest: str | None
    """None where the response is too short to tell."""
    confidences: dict[str, float]


def judge_response(answer: Answer, config: FilterConfig) -> Verdict:
    """Measures a response and says whether it is kept.

    The first verdict that fails gives the reason, in the order of `Reason`: truncated, empty,
    refusal, repetition loop, wrong language, broken JSON, copied transcript, leaked template,
    judged bad.
    """
    measured = _measure(answer, config)
    reason, detail = None, ""
    for candidate, find_fault in _VERDICTS:
        fault = find_fault(answer, measured, config)
        if fault is not None:
            reason, detail = candidate, fault
            break
    mark = "truncated" if config.truncated == "mark" and _is_cut_off(answer) else "kept"
    quality = Quality(
        copy_rate=measured.copy_rate,
        repetition=measured.loop.share,
        language_match=None
        if measured.expected is None or measured.likeliest is None
        else measured.confidences[measured.expected],
        mean_logprob=answer.mean_logprob,
        judge_score=answer.judge_score,
        verdict=mark if reason is None else reason.value,
    )
    return Verdict(
        quality=quality,
        reason=reason,
        detail=detail,
        language=_language(answer, measured, config),
    )


def _measure(answer: Answer, config: FilterConfig) -> _Measured:
    folded = words(answer.text)
    heard = words(answer.transcript)
    expected = None
    if answer.expected_language is not None:
        expected = language_code(answer.expected_language)
    likeliest: str | None = None
    confidences: dict[str, float] = {}
    if size_in_letters(folded) >= config.language_min_letters and not answer.expects_json:
        likeliest, confidences = detect_language(
            answer.text, languages=config.languages, expected=expected
        )
    return _Measured(
        transcript_words=heard,
        copy_rate=copy_rate(folded, heard),
        loop=find_loop(answer.text, folded, min_words=config.repetition_min_words),
        expected=expected,
        likeliest=likeliest,
        confidences=confidences,
    )


def _language(answer: Answer, measured: _Measured, config: FilterConfig) -> str:
    if measured.expected is not None:
        likeliest = measured.likeliest if _is_elsewhere(answer, measured, config) else None
        return likeliest or measured.expected
    # A language that lingua does not know would be taken for a relative of it.
    return answer.expected_language or measured.likeliest or UNDETERMINED


def _is_elsewhere(answer: Answer, measured: _Measured, config: FilterConfig) -> bool:
    """Tells whether the response is surely in another language than expected."""
    expected, likeliest = measured.expected, measured.likeliest
    if expected is None or likeliest is None:
        return False
    match, other = measured.confidences[expected], measured.confidences[likeliest]
    if match > config.language_max_expected or other < config.language_min_other:
        return False
    if not is_list(answer.text):
        return True
    # Japanese nouns in Han characters alone can't be told from Chinese.
    return (
        match <= config.language_max_expected_in_lists
        and other >= config.language_min_other_in_lists
        and (expected, likeliest) != ("ja", "zh")
    )


def _is_cut_off(answer: Answer) -> bool:
    return answer.finish_reason == "length"


def _truncated(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    del measured
    if config.truncated != "drop" or not _is_cut_off(answer):
        return None
    return "cut off at max_tokens"


def _empty(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    del measured
    if not config.empty:
        return None
    if answer.expects_json and answer.text.strip():
        return None  # `{}` and `[]` are answers
    # Letters, digits and symbols (an emoji may be an answer) are content; the rest is not.
    if any(unicodedata.category(character)[0] in "LNS" for character in answer.text):
        return None
    return f"no letter, digit or symbol in {_quoted(answer.text)}"


def _refusal(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    del measured
    if not config.refusal:
        return None
    phrase = refusal_in(answer.text, answer.transcript)
    return None if phrase is None else f"says {_quoted(phrase)}"


def _repetition(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    if not config.repetition or measured.loop.share < config.repetition_max_share:
        return None
    heard = find_loop(
        answer.transcript, measured.transcript_words, min_words=config.repetition_min_words
    )
    if heard.share >= config.repetition_max_share:
        return None  # the speaker says it over and over
    return f"{measured.loop.share:.2f} of it repeats {_quoted(measured.loop.unit)}"


def _wrong_language(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    if not config.wrong_language or not _is_elsewhere(answer, measured, config):
        return None
    expected, likeliest = str(measured.expected), str(measured.likeliest)
    match, other = measured.confidences[expected], measured.confidences[likeliest]
    return f"expected {expected} (confidence {match:.2f}), found {likeliest} ({other:.2f})"


def _broken_json(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    del measured
    if not config.broken_json or not answer.expects_json:
        return None
    content = answer.text.strip()
    if config.json_allow_fence and content.startswith(_FENCE) and content.endswith(_FENCE):
        content = content.removesuffix(_FENCE).partition("\n")[2]
    try:
        value = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {' '.join(str(error).split())}"
    if not isinstance(value, dict | list):
        return f"JSON must be an object or an array, got {type(value).__name__}"
    return None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _copied(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    if not config.copied or answer.may_copy or measured.copy_rate is None:
        return None
    limit = config.copy_max_rate_by_task.get(answer.task, config.copy_max_rate)
    if measured.copy_rate < limit:
        return None
    if size_in_words(measured.transcript_words) < config.copy_min_words:
        return None
    return f"copy rate {measured.copy_rate:.2f} reaches {limit:.2f} for task {answer.task}"


def _leaked_template(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    del measured
    if not config.leaked_template:
        return None
    leak = leak_in(answer.text, answer.transcript, answer.control_strings)
    return None if leak is None else f"holds {_quoted(leak)}"


def _judged_bad(answer: Answer, measured: _Measured, config: FilterConfig) -> str | None:
    del measured
    if not config.judge:
        return None
    if answer.judge_score is None:
        return "the judge gave no readable score" if config.judge_unscored == "drop" else None
    if answer.judge_score >= config.judge_keep:
        return None
    return f"judged {answer.judge_score}, {config.judge_keep} is needed"


def _quoted(text: str) -> str:
    """Shortens to one line that shows odd characters by their code."""
    if len(text) > _DETAIL_CHARACTERS:
        text = f"{text[:_DETAIL_CHARACTERS]}..."
    return ascii(text) if not text.isprintable() else repr(text)


_VERDICTS: tuple[tuple[Reason, Callable[[Answer, _Measured, FilterConfig], str | None]], ...] = (
    (Reason.TRUNCATED, _truncated),
    (Reason.EMPTY_RESPONSE, _empty),
    (Reason.REFUSAL, _refusal),
    (Reason.REPETITION_LOOP, _repetition),
    (Reason.WRONG_LANGUAGE, _wrong_language),
    (Reason.BROKEN_JSON, _broken_json),
    (Reason.COPIED_TRANSCRIPT, _copied),
    (Reason.LEAKED_TEMPLATE, _leaked_template),
    (Reason.JUDGED_BAD, _judged_bad),
)
