"""Answering parts with one engine: opening a part, and committing it when it is complete."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from sllm_data.config import RunConfig
from sllm_data.generation import Engine
from sllm_data.records import Request, Response
from sllm_data.records.request import ANSWER_PASSES
from sllm_data.shards import TABLES, part_name, read_part, write_part
from sllm_data.steps.engines import Engines
from sllm_data.steps.feeding import Feeder, OpenPart, Renewal, Row, Throughput
from sllm_data.steps.parts import Records, Step, write_rejections
from sllm_data.steps.reuse import reused_rows
from sllm_data.steps.rows import request_from, response_row

Watch = Callable[[int, Throughput], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a worker must know to answer parts."""

    turn: str
    document: str
    step: Step
    reuse: Path | None


def answer_parts(
    job: Job,
    numbers: Iterator[int],
    engines: Engines,
    *,
    commit: Callable[[Records], None],
    watch: Watch,
) -> Throughput:
    """Answers parts with one engine in this process, and commits each when it is complete."""
    config = RunConfig.model_validate_json(job.document)
    root = config.output

    def opened() -> Iterator[OpenPart]:
        for number in numbers:
            part = open_part(root, job, number)
            watch(sum("reused_from" in answer for answer in part.known()), Throughput())
            yield part

    parts = opened()
    first = _first_to_ask(parts, lambda part: commit(commit_part(root, job, part, {})))
    if first is None:
        return Throughput()
    before = engines.start_seconds
    with engines.open(config.backbone) as engine:
        mark = engine_columns(engine)
        feeder = Feeder(
            engine,
            chain([first], parts),
            commit=lambda part: commit(commit_part(root, job, part, mark)),
            watch=watch,
            renewal=Renewal(
                start=lambda: engines.renew(config.backbone),
                restarts=config.backbone.restarts if config.backbone.engine == "vllm" else 0,
                recycle_rows=config.backbone.recycle_rows,
            ),
        )
        feeder.run()
    feeder.throughput.start_seconds = engines.start_seconds - before
    return feeder.throughput


def _first_to_ask(
    parts: Iterator[OpenPart], commit: Callable[[OpenPart], None]
) -> OpenPart | None:
    """Commits parts until one has a question; an engine is started only for that one."""
    for part in parts:
        if not part.is_complete:
            return part
        commit(part)
    return None


def open_part(root: Path, job: Job, number: int) -> OpenPart:
    """Opens a part of requests/, with the answers that are known without asking."""
    rows = read_part(root / "requests" / job.turn / part_name(number)).to_pylist()
    requests = [request_from(row) for row in rows]
    known = reused_rows(job.reuse, number)
    answers: dict[str, Response | Row] = {}
    for request in requests:
        if request.target == "transcript":
            answers[request.request_id] = _not_asked(request)
        elif request.request_id in known:
            answers[request.request_id] = known[request.request_id]
    return OpenPart(number=number, requests=requests, answers=answers)


def _not_asked(request: Request) -> Row:
    """The row of a request whose answer is the transcript itself."""
    return {
        "request_id": request.request_id,
        "request_key": request.request_key,
        "text": request.transcript_prepared,
        "token_ids": [],
        "finish_reason": "stop",
        "num_prompt_tokens": 0,
        "num_response_tokens": 0,
        "engine": "none",
        "engine_version": "",
        "prompt_mode": "none",
        "determinism": "exact",
    }


def engine_columns(engine: Engine) -> Row:
    """The columns of responses/ that are the same for every answer of an engine."""
    return {
        "engine": engine.name,
        "engine_version": engine.version,
        "prompt_mode": engine.prompt_mode,
        "determinism": engine.determinism,
    }


def commit_part(root: Path, job: Job, part: OpenPart, mark: Row) -> Records:
    """Writes the answers and rejections of a part; a request that has neither leaves no row."""
    counts: dict[str, Counter[str]] = {"finish_reasons": Counter(), "tokens": Counter()}

    def rows() -> Iterator[Row]:
        for request in part.requests:
            answer = part.answers.get(request.request_id)
            if answer is None:
                continue  # it is among the rejections
            if isinstance(answer, Response):
                if job.turn not in ANSWER_PASSES:  # a question's likeliest tokens train nothing
                    answer = replace(answer, top_token_ids=None, top_logprobs=None)
                row = response_row(answer) | {"request_key": request.request_key} | mark
            else:
                row = answer
            counts["finish_reasons"][row["finish_reason"]] += 1
            counts["tokens"]["prompt"] += row["num_prompt_tokens"]
            counts["tokens"]["response"] += row["num_response_tokens"]
            counts["tokens"]["cached"] += row.get("num_cached_tokens") or 0
            yield row

    rejected = write_rejections(
        root, job.step, part.number, sorted(part.rejections, key=lambda r: r.row_id)
    )
    responses = write_part(
        root,
        f"responses/{job.turn}/{part_name(part.number)}",
        rows(),
        table=TABLES["responses"],
        identity=job.step.identity,
        counts=counts,
    )
    return rejected, responses
