"""plan: every prompt rendered and tokenised before an engine is started.

All passes share one step: `restore` asks for the transcript with casing and punctuation,
`question` for what a wording asks about, `main` asks the tasks, `followup` and `followup_answer`
make a second turn of an answer, `judge` asks what an answer is worth.
"""

import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sllm_data.records import Rejection, Request
from sllm_data.runners import map_parts
from sllm_data.shards import TABLES, part_name, read_part, write_part
from sllm_data.steps.asked import asked_of, needs_questions
from sllm_data.steps.context import planner_of, sources_of
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.followups import answer_drafts, followup_drafts
from sllm_data.steps.parts import Counts, Records, Step, StepReport, finish_parts, write_rejections
from sllm_data.steps.planner import Planner
from sllm_data.steps.progress import Progress
from sllm_data.steps.questions import question_drafts
from sllm_data.steps.rows import request_row
from sllm_data.steps.side_passes import judge_drafts, restore_draft


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    number: int
    audio_part: int
    turn: str
    document: str
    sources: str
    step: Step


def plan(dataset: Dataset, turn: str, progress: Progress) -> StepReport:
    """Renders the requests of one pass.

    Args:
        dataset: The dataset.
        turn: One of `records.PASSES`.
        progress: Where to show a bar.

    Raises:
        PoolError: A pool or a template is unusable.
        ModelError: The backbone's tokenizer or chat template is.
        RejectedError: Too many prompts are too long.
    """
    step = Step(
        name=f"plan.{turn}",
        folders=(f"rejections/plan.{turn}", f"requests/{turn}"),
        identity=expected_identity(dataset, f"plan.{turn}"),
        inputs=_inputs(dataset, turn),
    )
    audio_parts = dataset.finished("index").extra
    numbers = sorted(int(number) for number in audio_parts)
    document = dataset.config.model_dump_json()

    def make(missing: Sequence[int]) -> Iterator[Records]:
        sources = sources_of(dataset.config)
        jobs = [
            _Job(
                number=k,
                audio_part=int(audio_parts[str(k)]),
                turn=turn,
                document=document,
                sources=sources,
                step=step,
            )
            for k in missing
        ]
        mapped = map_parts(_plan_part, jobs, dataset.config.runner, root=dataset.root)
        yield from progress.parts(f"plan {turn}", mapped, total=len(jobs))

    def extra(counts: Counts) -> dict[str, str]:
        facts = _model_of(dataset, turn, numbers)
        if turn == "main":
            weights = {n: t.weight for n, t in dataset.config.tasks.items() if t.weight > 0}
            facts["balance"] = json.dumps(balance(weights, counts), sort_keys=True)
        return facts

    return finish_parts(dataset, step, numbers, make, extra=extra)


def _model_of(dataset: Dataset, turn: str, numbers: Sequence[int]) -> dict[str, str]:
    """The backbone as the requests name it: loading its tokenizer again would take seconds."""
    columns = ["model", "revision"]
    for number in numbers:
        rows = read_part(dataset.part(f"requests/{turn}", number), columns).slice(0, 1).to_pylist()
        if rows:
            named: dict[str, str] = rows[0]
            return named
    return dict.fromkeys(columns, "")


def balance(weights: dict[str, float], counts: Counts) -> dict[str, dict[str, float]]:
    """How far the requests are from the weights: shares asked, in rows and in prompt tokens."""
    rows, tokens = counts.get("tasks", {}), counts.get("prompt_tokens", {})
    return {
        task: {
            "asked": weight / sum(weights.values()),
            "rows": rows.get(task, 0) / max(1, sum(rows.values())),
            "prompt_tokens": tokens.get(task, 0) / max(1, sum(tokens.values())),
        }
        for task, weight in sorted(weights.items())
    }


def _inputs(dataset: Dataset, turn: str) -> tuple[str, ...]:
    restored = dataset.config.prompts.preparation == "restored"
    match turn:
        case "main" | "question":
            return (
                *("index", "ingest"),
                *(("generate.restore",) if restored else ()),
                *(("generate.question",) if needs_questions(dataset.config, turn) else ()),
            )
        case "followup" | "judge":
            return ("plan.main", "generate.main")
        case "followup_answer":
            return ("plan.main", "generate.main", "generate.followup")
        case _:
            return ("index", "ingest")


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pauses the collector of reference cycles, which takes a seventh of planning's time.

    A part makes no cycles to speak of, and so many objects that the search never rests.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_collector()
def _plan_part(job: _Job) -> Records:
    planner = planner_of(job.document, job.sources)
    root = planner.config.output
    counts: dict[str, Counter[str]] = {
        "tasks": Counter(),
        "prompt_tokens": Counter(),
        "targets": Counter(),
        "flags": Counter(),
        "restored": Counter(),
    }
    requests, rejections = _requests(planner, job, counts["restored"])
    model, renderer = planner.model_columns(), planner.backbone.renderer
    is_fallback = renderer is not None and renderer.is_fallback
    for request in requests:
        counts["tasks"][request.task] += 1
        counts["targets"][request.target] += 1
        if planner.finds_role_marker(request):
            counts["flags"]["role_marker_in_transcript"] += 1
        if is_fallback and request.target == "generated":
            counts["flags"]["model_without_chat_template"] += 1
        counts["prompt_tokens"][request.task] += len(request.prompt_token_ids)
    rejected = write_rejections(root, job.step, job.number, rejections)
    part = write_part(
        root,
        f"requests/{job.turn}/{part_name(job.number)}",
        (request_row(request, model=model) for request in requests),
        table=TABLES["requests"],
        identity=job.step.identity,
        counts=counts,
    )
    return rejected, part


def _requests(
    planner: Planner, job: _Job, restored: Counter[str]
) -> tuple[list[Request], list[Rejection]]:
    unasked: list[Rejection] = []
    match job.turn:
        case "judge":
            drafts = judge_drafts(planner, job.number)
        case "followup":
            drafts = followup_drafts(planner, job.number)
        case "followup_answer":
            drafts, unasked = answer_drafts(planner, job.number)
        case _:
            asked, unasked = asked_of(
                planner.config,
                number=job.number,
                audio_part=job.audio_part,
                turn=job.turn,
                restored=restored,
            )
            if job.turn == "main":
                requests, rejections = planner.requests(asked)
                return requests, [*unasked, *rejections]
            if job.turn == "restore":
                drafts = [restore_draft(planner, row) for row in asked]
            else:
                drafts = question_drafts(planner, asked)
    requests, rejections = planner.finish(drafts)
    return requests, [*unasked, *rejections]
