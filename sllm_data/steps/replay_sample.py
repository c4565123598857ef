"""Which requests of a pass are asked again: by hash, a share of each task.

The same dataset gives the same sample each time, whatever the number of parts. Only parts
that are committed are read, so a run that is going on is neither waited for nor disturbed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sllm_data.errors import ShardError
from sllm_data.records import Request
from sllm_data.sampling import largest_remainder
from sllm_data.seeding import hash128
from sllm_data.shards import read_part
from sllm_data.steps.rows import request_from

Row = dict[str, Any]  # Any: values of the tables requests and responses

_MODEL = ("model", "revision", "chat_template_sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request with the answer that it got."""

    request: Request
    model: Mapping[str, str]
    """model, revision and chat_template_sha256 that it was rendered for."""
    response: Row


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplaySample:
    """What is asked again, and what it was drawn from."""

    asked: tuple[Asked, ...]
    answers: Mapping[str, int]
    """Answers of an engine in the whole pass, by task."""
    not_asked: Mapping[str, int]
    """transcript: the answer is the transcript; no_answer: the engine refused the request."""


@dataclass(frozen=True, order=True, slots=True)
class _Ticket:
    """A request in the draw, in the order of its hash."""

    number: str
    request_id: str
    part: str


def draw_sample(root: Path, turn: str, count: int) -> ReplaySample:
    """Draws requests that an engine answered, every task in proportion and at least once.

    Args:
        root: The dataset.
        turn: restore, main or judge.
        count: How many; more where there are more tasks, fewer where there are fewer answers.

    Raises:
        ShardError: The pass has no answers, or a part is damaged.
    """
    names = sorted(path.name for path in root.glob(f"responses/{turn}/part-*.parquet"))
    best: dict[str, list[_Ticket]] = {}
    answers: Counter[str] = Counter()
    not_asked = Counter({"transcript": 0, "no_answer": 0})
    for name in names:
        fresh = _tickets(root, turn, name, not_asked)
        for task, tickets in fresh.items():
            answers[task] += len(tickets)
            best[task] = nsmallest(count, [*best.get(task, ()), *tickets])
    if not answers:
        raise ShardError(
            f"{root}: must have answers of an engine in the pass {turn}, found none in "
            f"responses/{turn}; run it first"
        )
    shares = _shares(count, answers)
    drawn = sorted(ticket for task, tickets in best.items() for ticket in tickets[: shares[task]])
    return ReplaySample(
        asked=tuple(_read(root, turn, drawn)),
        answers=dict(sorted(answers.items())),
        not_asked=dict(not_asked),
    )


def _tickets(
    root: Path, turn: str, name: str, not_asked: Counter[str]
) -> dict[str, list[_Ticket]]:
    """The requests of a part that an engine answered, by task; counts the others."""
    requests = read_part(root / "requests" / turn / name, ["request_id", "task", "target"])
    engines = read_part(root / "responses" / turn / name, ["request_id", "engine"])
    engine_of = {row["request_id"]: row["engine"] for row in engines.to_pylist()}
    found: dict[str, list[_Ticket]] = {}
    for row in requests.to_pylist():
        request_id = row["request_id"]
        if row["target"] == "transcript":
            not_asked["transcript"] += 1
        elif request_id not in engine_of:
            not_asked["no_answer"] += 1
        else:
            ticket = _Ticket(hash128("replay", request_id), request_id, name)
            found.setdefault(row["task"], []).append(ticket)
    return found


def _shares(count: int, answers: Mapping[str, int]) -> dict[str, int]:
    """How many of each task: one, and of the rest a share by its number of answers."""
    rest = max(0, min(count, sum(answers.values())) - len(answers))
    more = largest_remainder(rest, {task: number - 1 for task, number in answers.items()})
    return {task: 1 + number for task, number in more.items()}


def _read(root: Path, turn: str, drawn: Iterable[_Ticket]) -> list[Asked]:
    by_part: dict[str, list[str]] = {}
    places = {ticket.request_id: place for place, ticket in enumerate(drawn)}
    for ticket in drawn:
        by_part.setdefault(ticket.part, []).append(ticket.request_id)
    found: list[Asked] = []
    for name, request_ids in by_part.items():
        responses = _rows(root / "responses" / turn / name, request_ids)
        for request_id, row in _rows(root / "requests" / turn / name, request_ids).items():
            found.append(
                Asked(
                    request=request_from(row),
                    model={column: row[column] for column in _MODEL},
                    response=responses[request_id],
                )
            )
    return sorted(found, key=lambda asked: places[asked.request.request_id])


def _rows(path: Path, request_ids: list[str]) -> dict[str, Row]:
    table = read_part(path)
    chosen = table.filter(pc.is_in(table.column("request_id"), value_set=pa.array(request_ids)))
    return {row["request_id"]: row for row in chosen.to_pylist()}
