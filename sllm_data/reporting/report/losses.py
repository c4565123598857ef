"""What was dropped, with examples; what filters saw in the rest; what is there twice."""

from collections.abc import Mapping
from dataclasses import dataclass

from sllm_data.reporting.report.tables import MILLIONTHS, Tables

NUM_EXAMPLES = 3
"""Of each reason: those with the lowest ids."""
NEAR_COPY = 0.8
"""A copy rate from which on a response counts as a copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectionExample:
    """One row that was dropped."""

    row_id: str
    detail: str
    transcript: str | None
    """Of its utterance, where one is known."""
    response: str | None
    """Of the backbone, where there was one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """All rows that one step dropped for one reason."""

    step: str
    reason: str
    rows: int
    examples: tuple[RejectionExample, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskQuality:
    """Means over the rows of a task for which a figure is known; None where it is for none."""

    rows: int
    verdicts: Mapping[str, int]
    copy_rate: float | None
    near_copies: float | None
    """Share of rows whose copy rate is at least NEAR_COPY."""
    repetition: float | None
    language_match: float | None
    mean_logprob: float | None
    judge_score: float | None
    responses: int
    """Different ones."""
    commonest: str
    commonest_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """What is there more than once."""

    clips: int
    repeated_transcripts: int
    """Clips whose transcript another clip has, too."""
    largest_group: int
    """Clips with one and the same transcript, at most."""
    repeated_questions: int
    """Rows that put the same question, word by word, to the same transcript as another row."""


def collect_rejections(tables: Tables) -> tuple[Rejected, ...]:
    """Counts rejections by step and reason, and keeps some of each.

    Raises:
        ShardError: A part is damaged.
    """
    groups = tables.rows(
        "SELECT step, reason, count(*) AS num, arg_min({'row': row_id, 'audio': audio_id, "
        f"'detail': detail}}, row_id, {NUM_EXAMPLES}) FROM rejections GROUP BY ALL "
        "ORDER BY step, num DESC, reason"
    )
    kept = [example for *_, examples in groups for example in examples]
    transcripts = dict(
        tables.rows(
            "SELECT audio_id, transcript FROM candidates WHERE list_contains($1, audio_id)",
            [[example["audio"] for example in kept if example["audio"]]],
        )
    )
    ids = [f"{example['row'].partition(':')[0]}:main" for example in kept]
    responses = dict(
        tables.rows(
            "SELECT request_id, text FROM responses WHERE list_contains($1, request_id)", [ids]
        )
    )
    return tuple(
        Rejected(
            step=step,
            reason=reason,
            rows=num,
            examples=tuple(
                RejectionExample(
                    row_id=each["row"],
                    detail=each["detail"],
                    transcript=transcripts.get(each["audio"]),
                    response=responses.get(f"{each['row'].partition(':')[0]}:main"),
                )
                for each in examples
            ),
        )
        for step, reason, num, examples in groups
    )


_MEANS = ("copy_rate", "repetition", "language_match", "mean_logprob", "judge_score")


def collect_quality(tables: Tables) -> dict[str, TaskQuality]:
    """Returns what filters saw, by task.

    Raises:
        ShardError: A part is damaged.
    """
    verdicts: dict[str, dict[str, int]] = {}
    for task, verdict, num in tables.rows(
        "SELECT task, coalesce(quality.verdict, ''), count(*) FROM samples "
        "GROUP BY ALL ORDER BY ALL"
    ):
        verdicts.setdefault(task, {})[verdict] = num
    sums = ", ".join(
        f"count(quality.{name}), CAST(sum({MILLIONTHS.format(f'quality.{name}')}) AS BIGINT)"
        for name in _MEANS
    )
    commonest = _commonest(tables)
    found = {}
    for task, copies, *figures in tables.rows(
        f"SELECT task, count_if(quality.copy_rate >= {NEAR_COPY}), {sums} FROM samples "
        "GROUP BY task ORDER BY task"
    ):
        known = dict(zip(_MEANS, figures[::2], strict=True))
        means = {
            name: total / 1e6 / known[name] if known[name] else None
            for name, total in zip(_MEANS, figures[1::2], strict=True)
        }
        responses, text, num = commonest[task]
        rows = sum(verdicts[task].values())
        found[task] = TaskQuality(
            rows=rows,
            verdicts=verdicts[task],
            near_copies=copies / known["copy_rate"] if known["copy_rate"] else None,
            responses=responses,
            commonest=text,
            commonest_share=num / rows,
            **means,
        )
    return found


def _commonest(tables: Tables) -> dict[str, tuple[int, str, int]]:
    """By task: the number of different responses, the commonest one, and how often it is given."""
    groups = tables.rows(
        """SELECT task, count(*), arg_max(response, (num, response)), max(num) FROM
        (SELECT task, hash(response), min(response) AS response, count(*) AS num FROM samples
        GROUP BY ALL) GROUP BY task"""
    )
    return {task: (responses, text, num) for task, responses, text, num in groups}


def collect_duplicates(tables: Tables) -> Duplicates:
    """Counts what is there more than once; exact copies of sound were dropped before.

    Raises:
        ShardError: A part is damaged.
    """
    ((clips, repeated, largest),) = tables.rows(
        """SELECT coalesce(sum(num), 0), coalesce(sum(num) FILTER (num > 1), 0),
        coalesce(max(num), 0)
        FROM (SELECT count(*) AS num FROM audio GROUP BY hash(transcript, language))"""
    )
    ((questions,),) = tables.rows(
        """SELECT coalesce(sum(num - 1), 0) FROM (SELECT count(*) AS num FROM samples
        GROUP BY hash(text_messages[1:-2], language), hash(task, kind))"""
    )
    return Duplicates(
        clips=int(clips),
        repeated_transcripts=int(repeated),
        largest_group=int(largest),
        repeated_questions=int(questions),
    )
