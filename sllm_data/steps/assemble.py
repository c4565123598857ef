"""assemble: every answered request becomes a sample or a rejection."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sllm_data.assembly.instruct import (
    Clip,
    Content,
    Exchange,
    Provenance,
    exchange,
    instruct_sample,
    interleaved,
    whole,
)
from sllm_data.assembly.interleave import UninterleavableError, interleave
from sllm_data.assembly.pieces import pieces_of
from sllm_data.filtering.judge import parse_judge
from sllm_data.filtering.verdicts import Verdict, judge_response
from sllm_data.records import (
    AlignedWord,
    Generator,
    Quality,
    Reason,
    Rejection,
    Request,
    Response,
    Sample,
)
from sllm_data.runners import map_parts
from sllm_data.seeding import rng_for
from sllm_data.shards import TABLES, part_name, read_part, write_part
from sllm_data.steps.answers import answer_to
from sllm_data.steps.context import planner_of, sources_of
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.followups import second_answer, second_turns_of
from sllm_data.steps.parts import Counts, Records, Step, StepReport, finish_parts, write_rejections
from sllm_data.steps.plan import balance
from sllm_data.steps.planner import Planner
from sllm_data.steps.progress import Progress
from sllm_data.steps.rows import (
    canonical,
    request_from,
    response_from,
    sample_row,
    sampling_document,
    source_from,
    speaker_from,
)

Row = dict[str, Any]  # Any: values of one of the tables

_CLIP_COLUMNS = [
    *("audio_id", "sampling_rate", "num_samples", "transcript", "language", "speaker", "source")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    number: int
    document: str
    sources: str
    step: Step


def assemble(dataset: Dataset, progress: Progress) -> StepReport:
    """Filters the responses and writes the training rows.

    Raises:
        RejectedError: Too many responses are unusable.
    """
    judged = dataset.config.filters.judge
    step = Step(
        name="assemble",
        folders=("rejections/assemble", "samples"),
        identity=expected_identity(dataset, "assemble"),
        inputs=(
            *("ingest", "plan.main", "generate.main"),
            *(("generate.judge",) if judged else ()),
            *(("generate.followup_answer",) if dataset.config.followup.chance > 0 else ()),
            *(("align",) if dataset.config.cuts_clips else ()),
        ),
    )
    numbers = sorted(int(number) for number in dataset.finished("index").extra)
    document = dataset.config.model_dump_json()

    def make(missing: Sequence[int]) -> Iterator[Records]:
        sources = sources_of(dataset.config)
        jobs = [_Job(number=k, document=document, sources=sources, step=step) for k in missing]
        mapped = map_parts(_assemble_part, jobs, dataset.config.runner, root=dataset.root)
        yield from progress.parts("assemble", mapped, total=len(jobs))

    def extra(counts: Counts) -> dict[str, str]:
        weights = {n: t.weight for n, t in dataset.config.tasks.items() if t.weight > 0}
        shares = balance(weights, {"tasks": counts.get("tasks", {})})
        tokens = counts.get("response_tokens", {})
        for task, share in shares.items():
            share.pop("prompt_tokens")
            share["response_tokens"] = tokens.get(task, 0) / max(1, sum(tokens.values()))
        return {"balance": json.dumps(shares, sort_keys=True)}

    return finish_parts(dataset, step, numbers, make, extra=extra)


def _assemble_part(job: _Job) -> Records:
    planner = planner_of(job.document, job.sources)
    root = planner.config.output
    rejections: list[Rejection] = []
    records: list[Any] = []  # Any: PartRecord, filled when the last row is out
    counts: dict[str, Counter[str]] = {
        "tasks": Counter(),
        "languages": Counter(),
        "splits": Counter(),
        "eval_groups": Counter(),
        "response_tokens": Counter(),
        "verdicts": Counter(),
        "second_turns": Counter(),
        "cuts": Counter(),
        "heard_ppm": Counter(),
    }

    def rows() -> Iterator[Row]:
        for made in _samples(planner, job.number, counts["second_turns"]):
            if isinstance(made, Rejection):
                rejections.append(made)
                continue
            counts["tasks"][made.task] += 1
            counts["languages"][made.language] += 1
            counts["splits"][made.split] += 1
            counts["eval_groups"][made.eval_group] += 1
            counts["response_tokens"][made.task] += made.num_response_tokens
            counts["verdicts"][made.quality.verdict] += 1
            if made.cut:
                counts["cuts"][made.cut] += 1
                counts["heard_ppm"][made.cut] += round(made.speech_share * 1_000_000)
            yield sample_row(made)
        records.append(write_rejections(root, job.step, job.number, rejections))

    part = write_part(
        root,
        f"samples/{part_name(job.number)}",
        rows(),
        table=TABLES["samples"],
        identity=job.step.identity,
        counts=counts,
    )
    return (*records, part)


def _samples(
    planner: Planner, number: int, second_turns: Counter[str]
) -> Iterator[Sample | Rejection]:
    root, name = planner.config.output, part_name(number)
    responses = {
        row["request_id"]: row for row in read_part(root / "responses/main" / name).to_pylist()
    }
    scores = _judge_scores(planner, number)
    seconds = second_turns_of(planner, number)
    clips: dict[str, Clip] = {}
    words: dict[str, tuple[AlignedWord, ...]] = {}
    for row in read_part(root / "requests/main" / name).to_pylist():
        request = request_from(row)
        if request.request_id not in responses:
            continue  # generate rejected it, and counted it
        if request.audio_id not in clips:
            clips |= _clips(planner, request.audio_part)
            words |= _words(planner, request.audio_part)
        known = _Known(
            clip=clips[request.audio_id],
            words=words.get(request.audio_id, ()),
            judge_score=scores.get(request.sample_id),
            second=seconds.get(request.sample_id),
        )
        yield _sample(planner, (request, row), responses[request.request_id], known, second_turns)


def _clips(planner: Planner, audio_part: int) -> dict[str, Clip]:
    path = planner.config.output / "audio" / part_name(audio_part)
    return {
        row["audio_id"]: Clip(
            **row
            | {
                "audio_part": audio_part,
                "speaker": speaker_from(row["speaker"]),
                "source": source_from(row["source"]),
            }
        )
        for row in read_part(path, _CLIP_COLUMNS).to_pylist()
    }


def _words(planner: Planner, audio_part: int) -> dict[str, tuple[AlignedWord, ...]]:
    if not planner.config.cuts_clips:
        return {}
    path = planner.config.output / "alignments" / part_name(audio_part)
    return {
        row["audio_id"]: tuple(AlignedWord(**word) for word in row["words"])
        for row in read_part(path, ["audio_id", "words"]).to_pylist()
    }


def _judge_scores(planner: Planner, number: int) -> dict[str, int | None]:
    if not planner.config.filters.judge:
        return {}
    path = planner.config.output / "responses/judge" / part_name(number)
    return {
        row["request_id"].partition(":")[0]: parse_judge(row["text"])
        for row in read_part(path, ["request_id", "text"]).to_pylist()
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What a row is made of besides request and response."""

    clip: Clip
    words: Sequence[AlignedWord]
    judge_score: int | None
    second: tuple[str, Response] | None
    """What was asked on and answered."""


def _sample(
    planner: Planner,
    asked: tuple[Request, Row],
    answered: Row,
    known: _Known,
    second_turns: Counter[str],
) -> Sample | Rejection:
    request, row = asked
    response, clip, second = response_from(answered), known.clip, None
    try:
        content = _content(planner, request, clip, known.words)
    except UninterleavableError as error:
        return _rejection(request, Reason.TOO_SHORT_TO_INTERLEAVE, str(error))
    if request.target == "transcript":
        quality, language = Quality(), clip.language
        said = content.response if isinstance(content, Exchange) else response.text
        response = replace(response, num_response_tokens=_count(planner, said))
    else:
        answer = answer_to(
            request,
            response,
            planner=planner,
            judge_score=known.judge_score,
            language=clip.language,
        )
        verdict = judge_response(answer, planner.config.filters)
        if verdict.reason is not None:
            return _rejection(request, verdict.reason, verdict.detail)
        if known.second is not None:
            second, verdict = _second(planner, request, known.second, verdict, second_turns)
        quality, language = verdict.quality, verdict.language
    quality = replace(quality, role_marker=planner.finds_role_marker(request))
    return instruct_sample(
        request,
        response,
        clip=clip,
        content=content,
        audio_turn=planner.twin_of(request).audio_turn,
        quality=quality,
        response_language=language,
        provenance=_provenance(planner, request, row, answered),
        second=second,
    )


def _second(
    planner: Planner,
    request: Request,
    second: tuple[str, Response],
    first: Verdict,
    second_turns: Counter[str],
) -> tuple[tuple[str, Response] | None, Verdict]:
    """The second turn and what the filters saw of its answer; the first's where it is dropped."""
    filters = planner.config.filters.model_copy(update={"judge": False})
    verdict = judge_response(second_answer(request, second[1], planner=planner), filters)
    second_turns[verdict.quality.verdict] += 1
    if verdict.reason is not None:
        return None, first
    quality = replace(verdict.quality, judge_score=first.quality.judge_score)
    return second, replace(verdict, quality=quality)


def _rejection(request: Request, reason: Reason, detail: str) -> Rejection:
    return Rejection(
        row_id=request.sample_id,
        audio_id=request.audio_id,
        step="assemble",
        reason=reason,
        detail=detail,
    )


def _content(
    planner: Planner, request: Request, clip: Clip, words: Sequence[AlignedWord]
) -> Content | Exchange:
    """Cuts the clip if chance says so; all rows of an utterance are cut alike.

    Raises:
        UninterleavableError: It is too short for that.
    """
    config = planner.config.interleave
    rng = rng_for(planner.config.seed, "interleave", request.audio_id)
    supervision = planner.config.tasks[request.task].supervision
    is_drawn = rng.random() < config.chance
    if supervision == "answer" and not (words and is_drawn):
        return whole(clip)
    if not words:
        raise UninterleavableError("its words must be aligned, they are not")
    pieces = pieces_of(words, request.transcript_prepared, clip.num_samples)
    stretches = interleave(pieces, rate=clip.sampling_rate, config=config, rng=rng)
    content = interleaved(pieces, stretches, cut=config.policy)
    if supervision == "answer":
        return content
    twin = planner.twin_of(request)
    before, _, after = twin.text_messages[-1].content.partition(request.transcript_prepared)
    return exchange(
        content,
        pieces,
        stretches,
        turn=twin.audio_turn,
        text_turn=(before, after),
        pattern=supervision,
    )


def _count(planner: Planner, text: str) -> int:
    renderer = planner.backbone.renderer
    if renderer is None:
        return len(text.split())
    return renderer.count_tokens([text])[0]


def _provenance(planner: Planner, request: Request, row: Row, answered: Row) -> Provenance:
    _, pool = planner.instruction_of(request)
    return Provenance(
        recipe=planner.config.recipe_name,
        kind=planner.config.kind,
        pool_sha256=pool.sha256,
        template_sha256=planner.templates[request.variant].sha256,
        generator=Generator(
            model=row["model"],
            revision=row["revision"],
            engine=answered["engine"],
            engine_version=answered["engine_version"],
            chat_template_sha256=row["chat_template_sha256"],
            sampling=canonical(sampling_document(request.sampling)),
            seed=request.seed,
            request_key=request.request_key,
            prompt_mode=answered["prompt_mode"],
            determinism=answered["determinism"],
        ),
    )
