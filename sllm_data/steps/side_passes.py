"""Requests that serve other requests: restoring a transcript before, judging an answer after.

Those that write questions and second turns stand in `questions` and `followups`.
"""

from collections.abc import Iterator
from pathlib import Path

from sllm_data.filtering.verdicts import judge_response
from sllm_data.prompting.languages import language_name
from sllm_data.prompting.sandbox import MAX_OUTPUT_CHARS
from sllm_data.prompting.templates import Template
from sllm_data.records import Message, Pass, Request, Sampling
from sllm_data.seeding import hash128, seed_for
from sllm_data.shards import part_name, read_part
from sllm_data.steps.answers import answer_to
from sllm_data.steps.context import JUDGE_TEMPLATE, RESTORE_TEMPLATE
from sllm_data.steps.planner import Asked, Planner
from sllm_data.steps.rows import request_from, response_from

_JUDGE_TOKENS = 8
_RESTORE_MIN_TOKENS = 64


def restore_draft(planner: Planner, row: Asked) -> Request:
    """The request that asks for one transcript with casing and punctuation."""
    template = planner.templates[RESTORE_TEMPLATE]
    content = template.render(transcript=row.prepared, language=language_name(row.language, "en"))
    # no tokenizer in use needs more than a token a byte
    most = max(_RESTORE_MIN_TOKENS, len(row.prepared.encode()))
    return side_draft(
        planner,
        row,
        turn="restore",
        sample_id=hash128(row.audio_id, "restore"),
        template=template,
        messages=planner.with_system(content),
        sampling=planner.sampling(max_tokens=most, temperature=0.0),
    )


def restored_answers(root: Path, number: int) -> dict[str, str]:
    """What the backbone made of each transcript of a part, by audio_id."""
    requests = read_part(
        root / "requests/restore" / part_name(number), ["request_id", "audio_id"]
    ).to_pylist()
    responses = read_part(
        root / "responses/restore" / part_name(number), ["request_id", "text"]
    ).to_pylist()
    texts = {row["request_id"]: row["text"] for row in responses}
    return {
        row["audio_id"]: texts[row["request_id"]] for row in requests if row["request_id"] in texts
    }


def kept_answers(planner: Planner, number: int) -> Iterator[tuple[Request, str]]:
    """The generated answers of a part that the cheap verdicts don't drop, with their requests."""
    root = planner.config.output
    requests = {
        row["request_id"]: request_from(row)
        for row in read_part(root / "requests/main" / part_name(number)).to_pylist()
    }
    cheap = planner.config.filters.model_copy(update={"judge": False})
    for row in read_part(root / "responses/main" / part_name(number)).to_pylist():
        request = requests[row["request_id"]]
        answer = answer_to(request, response_from(row), planner=planner, judge_score=None)
        if request.target != "generated" or judge_response(answer, cheap).reason is not None:
            continue
        if len(row["text"]) > MAX_OUTPUT_CHARS // 4:  # a server that knows no max_tokens
            continue
        yield request, row["text"]


def judge_drafts(planner: Planner, number: int) -> list[Request]:
    """The requests that ask what the answers of a part are worth.

    Answers that the cheap verdicts drop anyway are not judged.
    """
    template = planner.templates[JUDGE_TEMPLATE]
    drafts = []
    for request, answer in kept_answers(planner, number):
        content = template.render(
            instruction=planner.wording(request),
            transcript=request.transcript_prepared,
            response=answer,
        )
        draft = side_draft(
            planner,
            asked_by(request),
            turn="judge",
            sample_id=request.sample_id,
            template=template,
            messages=planner.with_system(content),
            sampling=planner.sampling(max_tokens=_JUDGE_TOKENS, temperature=0.0),
        )
        drafts.append(draft)
    return drafts


def asked_by(request: Request) -> Asked:
    """The utterance that a request was made of, to ask more about it."""
    return Asked(
        audio_id=request.audio_id,
        audio_part=request.audio_part,
        language="",
        prepared=request.transcript_prepared,
        split=request.split,
        tasks=(),
    )


def side_draft(  # noqa: PLR0913 - what the requests of all side passes differ in
    planner: Planner,
    row: Asked,
    *,
    turn: Pass,
    sample_id: str,
    template: Template,
    messages: tuple[Message, ...],
    sampling: Sampling,
    task: str | None = None,
) -> Request:
    """A request of another pass than main.

    Args:
        planner: Knows seed and model.
        row: What it is about.
        turn: The pass.
        sample_id: Names the row that it serves, or the utterance where there is none yet.
        template: That its prompt was rendered by.
        messages: The prompt.
        sampling: How it is to be answered.
        task: That it serves; the pass itself where None.
    """
    return Request(
        request_id=f"{sample_id}:{turn}",
        sample_id=sample_id,
        audio_part=row.audio_part,
        audio_id=row.audio_id,
        task=task or turn,
        task_params="{}",
        variant=turn,
        draw_index=0,
        instruction_id=turn,
        instruction_language="en",
        template_id=template.id,
        split=row.split,
        eval_group="train",
        transcript_prepared=row.prepared,
        target="generated",
        messages=messages,
        prompt_token_ids=(),
        sampling=sampling,
        seed=seed_for(planner.config.seed, turn, sample_id),
        request_key="",
    )
