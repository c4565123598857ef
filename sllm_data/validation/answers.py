"""What the backbone answered, task by task: copies, lengths, languages, one answer for all.

Means over a task say what no single row can: that a backbone answered with the transcript
whatever it was asked, ran on until it was cut off, or gave everyone the same sentence. Bounds
come from the contract; the defaults below are kept wide, and are asked only of tasks with
enough rows for a mean to mean something.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sllm_data.filtering.language import UNDETERMINED, language_code
from sllm_data.validation.contract import TokenBounds
from sllm_data.validation.findings import Finding, shown
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Subject
from sllm_data.validation.views import Views

RULES = (
    Rule(
        name="copy_rate",
        level=3,
        meaning="the mean copy rate of a task is at most the contract's `copy_rate`; without one "
        "0.5, for keywords and summary 0.8, and any where a copy is a right answer",
    ),
    Rule(
        name="response_tokens",
        level=3,
        meaning="the mean length of a task's responses is within the contract's "
        "`response_tokens`; without them at least 1 token, and below nine tenths of the task's "
        "`max_tokens`: beyond, most answers are cut off",
    ),
    Rule(
        name="same_response",
        level=3,
        meaning="one and the same response is not given to more than the contract's "
        "`same_response` of a task's transcripts (0.5 without one)",
        weight="warning",
        foreign="warning",
    ),
    Rule(
        name="response_languages",
        level=3,
        meaning="at most the contract's `other_languages` of a task's responses (0.1 without "
        "one) are in another language than the task asks for",
        weight="warning",
        foreign="off",
    ),
)

COPY_RATE = 0.5
COPY_RATE_OF = {"keywords": 0.8, "summary": 0.8}
SAME_RESPONSE = 0.5
OTHER_LANGUAGES = 0.1
LONGEST_SHARE = 0.9
"""Of a task's `max_tokens`."""
FEWEST_ROWS = 20
"""Tasks with fewer rows are judged by bounds of the contract only."""

_MAY_COPY = ("transcription", "repetition")  # of the shipped tasks, where no run.yaml tells
_EXAMPLE = "{'file': file, 'place': place, 'row': row}"


def check(views: Views) -> None:
    """Judges all tasks of the samples."""
    if "samples" not in views.tables:
        return
    for finding in (
        *_copy_rates(views),
        *_lengths(views),
        *_same_responses(views),
        *_languages(views),
    ):
        views.tally.add(finding)


def _copy_rates(views: Views) -> Iterator[Finding]:
    tasks = views.connection.execute(
        f"SELECT task, count(*), avg(copy_rate), arg_max({_EXAMPLE}, copy_rate), max(copy_rate) "
        "FROM samples WHERE copy_rate IS NOT NULL GROUP BY task ORDER BY task"
    ).fetchall()
    for task, num, mean, example, most in tasks:
        bound = _copy_bound(views.subject, task, num)
        if bound is not None and mean > bound:
            yield Finding(
                rule="copy_rate",
                part=example["file"],
                row=shown(example["row"]),
                column="quality.copy_rate",
                value=f"{mean:.3f}",
                message=f"the mean over the {num} rows of {task} must be at most {bound:g}; "
                f"that of this row is {most:.3f}",
            )


def _copy_bound(subject: Subject, task: str, num: int) -> float | None:
    given = subject.contract.copy_rate.get(task)
    if given is not None:
        return given
    known = subject.config.tasks.get(task) if subject.config else None
    may_copy = known.may_copy if known else task in _MAY_COPY
    if may_copy or num < FEWEST_ROWS:
        return None
    return COPY_RATE_OF.get(task, COPY_RATE)


def _lengths(views: Views) -> Iterator[Finding]:
    tasks = views.connection.execute(
        "SELECT task, count(*), avg(num_response_tokens), "
        f"arg_min({_EXAMPLE}, num_response_tokens), arg_max({_EXAMPLE}, num_response_tokens) "
        "FROM samples GROUP BY task ORDER BY task"
    ).fetchall()
    for task, num, mean, shortest, longest in tasks:
        bounds = _token_bounds(views.subject, task, num)
        if mean < bounds.min:
            example, rule = shortest, f"at least {bounds.min:g}; this row is the shortest"
        elif bounds.max is not None and mean > bounds.max:
            example, rule = longest, f"at most {bounds.max:g}; this row is the longest"
        else:
            continue
        yield Finding(
            rule="response_tokens",
            part=example["file"],
            row=shown(example["row"]),
            column="num_response_tokens",
            value=f"{mean:.1f}",
            message=f"the mean over the {num} rows of {task} must be {rule}",
        )


def _token_bounds(subject: Subject, task: str, num: int) -> TokenBounds:
    given = subject.contract.response_tokens.get(task)
    if given is not None:
        return given
    if num < FEWEST_ROWS:
        return TokenBounds()
    known = subject.config.tasks.get(task) if subject.config else None
    if known is None or known.target == "transcript":
        return TokenBounds(min=1.0)
    return TokenBounds(min=1.0, max=max(1.0, LONGEST_SHARE * known.max_tokens))


def _same_responses(views: Views) -> Iterator[Finding]:
    """Counts transcripts, not rows: what is said twice may well be answered the same."""
    tasks = views.connection.execute(
        """
        WITH answered AS (
            SELECT DISTINCT task, response, transcript FROM fingerprints
            WHERE response IS NOT NULL AND transcript IS NOT NULL
        ), answers AS (
            SELECT task, response, count(*) AS num FROM answered GROUP BY task, response
        ), said AS (
            SELECT DISTINCT task, transcript FROM answered
        ), totals AS (
            SELECT task, count(*) AS total FROM said GROUP BY task
        )
        SELECT task, total, max(num), arg_max(response, num) FROM answers JOIN totals USING (task)
        GROUP BY task, total ORDER BY task"""
    ).fetchall()
    for task, total, num, response in tasks:
        given = views.subject.contract.same_response.get(task)
        bound = SAME_RESPONSE if given is None else given
        if num / total > bound and (given is not None or total >= FEWEST_ROWS):
            file, row = views.connection.execute(
                "SELECT file, row FROM fingerprints WHERE task = ? AND response = ? "
                "ORDER BY file, place LIMIT 1",
                [task, response],
            ).fetchall()[0]
            yield Finding(
                rule="same_response",
                part=file,
                row=shown(row),
                column="response",
                value=f"{num / total:.3f}",
                message=f"{num} of the {total} transcripts of {task} have the response of this "
                f"row, at most {bound:g} of them may",
            )


@dataclass(kw_only=True, slots=True)
class _Spoken:
    """What is counted of one task's languages."""

    num: int = 0
    others: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] | None = None
    """The first row in another language."""


def _languages(views: Views) -> Iterator[Finding]:
    tasks = views.subject.config.tasks if views.subject.config else {}
    groups = views.connection.execute(
        f"SELECT task, language, target, response_language, count(*), min({_EXAMPLE}) "
        "FROM samples WHERE engine <> 'none' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    spoken: dict[str, _Spoken] = {}
    for task, language, target, found, num, first in groups:
        wanted = tasks[task].response_language if task in tasks else "any"
        asked = {"utterance": language, "to": target}.get(wanted)
        if asked is None or found == UNDETERMINED:
            continue
        of_task = spoken.setdefault(task, _Spoken())
        of_task.num += num
        if found not in (asked, language_code(asked)):
            of_task.others[found] += num
            of_task.first = min(filter(None, (of_task.first, first)), key=lambda e: e["file"])
    given = views.subject.contract.other_languages
    bound = OTHER_LANGUAGES if given is None else given
    for task, of_task in spoken.items():
        if given is None and of_task.num < FEWEST_ROWS:
            continue
        others = of_task.others.total()
        if of_task.first is not None and others / of_task.num > bound:
            named = ", ".join(f"{code} {num}" for code, num in of_task.others.most_common(3))
            yield Finding(
                rule="response_languages",
                part=of_task.first["file"],
                row=shown(of_task.first["row"]),
                column="response_language",
                value=f"{others / of_task.num:.3f}",
                message=f"{others} of the {of_task.num} responses of {task} are in another "
                f"language than asked for ({named}), at most {bound:g} of them may",
            )
