"""The passes `followup` and `followup_answer`: a second turn, asked and answered by the backbone.

    main:             instruction + transcript ──> answer
    followup:         transcript, instruction, answer ──> the next question
    followup_answer:  instruction + transcript, answer, question ──> second answer

An answer without a second turn stays a row of one turn: no question is a rejection of
plan.followup_answer, a second answer that the filters drop is counted by assemble.
"""

from collections.abc import Iterator
from pathlib import Path

from sllm_data.filtering.verdicts import Answer
from sllm_data.prompting.languages import language_name
from sllm_data.records import Message, Pass, Reason, Rejection, Request, Response
from sllm_data.seeding import uniform
from sllm_data.shards import part_name, read_part
from sllm_data.steps.context import FOLLOWUP_TEMPLATE
from sllm_data.steps.planner import Planner
from sllm_data.steps.questions import written
from sllm_data.steps.rows import request_from, response_from
from sllm_data.steps.side_passes import asked_by, kept_answers, side_draft

_ASKS: Pass = "followup"
_ANSWERS: Pass = "followup_answer"
_QUESTION_TOKENS = 96


def followup_drafts(planner: Planner, number: int) -> list[Request]:
    """The requests that let the backbone ask on, about the answers of a part that are drawn."""
    return list(_followup_drafts(planner, number))


def _followup_drafts(planner: Planner, number: int) -> Iterator[Request]:
    config = planner.config
    template = planner.templates[FOLLOWUP_TEMPLATE]
    for request, answer in kept_answers(planner, number):
        if uniform(config.seed, _ASKS, request.sample_id) >= config.followup.chance:
            continue
        content = template.render(
            instruction=planner.wording(request),
            transcript=request.transcript_prepared,
            response=answer,
            language=language_name(request.instruction_language, "en"),
        )
        yield side_draft(
            planner,
            asked_by(request),
            turn=_ASKS,
            sample_id=request.sample_id,
            template=template,
            messages=planner.with_system(content),
            sampling=planner.sampling(max_tokens=_QUESTION_TOKENS),
        )


def answer_drafts(planner: Planner, number: int) -> tuple[list[Request], list[Rejection]]:
    """The requests that answer what was asked on, and what was asked in vain."""
    root, config = planner.config.output, planner.config
    asked = {
        row["request_id"].partition(":")[0]: row
        for row in read_part(
            root / f"responses/{_ASKS}" / part_name(number),
            ["request_id", "text", "finish_reason"],
        ).to_pylist()
    }
    answers = _texts(root / "responses/main" / part_name(number))
    drafts: list[Request] = []
    rejections: list[Rejection] = []
    for row in read_part(root / "requests/main" / part_name(number)).to_pylist():
        question = asked.get(row["sample_id"])
        if question is None:
            continue
        request = request_from(row)
        made = written(question["text"], kind="question", finish_reason=question["finish_reason"])
        if made.text is None:
            rejections.append(
                Rejection(
                    row_id=f"{request.sample_id}:{_ANSWERS}",
                    audio_id=request.audio_id,
                    step="plan",
                    reason=Reason.NO_QUESTION,
                    detail=made.fault,
                )
            )
            continue
        draft = side_draft(
            planner,
            asked_by(request),
            turn=_ANSWERS,
            sample_id=request.sample_id,
            template=planner.templates[request.variant],
            messages=(
                *request.messages,
                Message(role="assistant", content=answers[request.request_id]),
                Message(role="user", content=made.text),
            ),
            sampling=planner.sampling(max_tokens=config.followup.max_tokens),
        )
        drafts.append(draft)
    return drafts, rejections


def _texts(path: Path) -> dict[str, str]:
    rows = read_part(path, ["request_id", "text"]).to_pylist()
    return {row["request_id"]: row["text"] for row in rows}


def second_turns_of(planner: Planner, number: int) -> dict[str, tuple[str, Response]]:
    """What was asked on and answered, by sample_id; empty where nothing is asked on."""
    if planner.config.followup.chance == 0:
        return {}
    root, name = planner.config.output, part_name(number)
    responses = {
        row["request_id"]: response_from(row)
        for row in read_part(root / f"responses/{_ANSWERS}" / name).to_pylist()
    }
    columns = ["request_id", "sample_id", "messages"]
    return {
        row["sample_id"]: (row["messages"][-1]["content"], responses[row["request_id"]])
        for row in read_part(root / f"requests/{_ANSWERS}" / name, columns).to_pylist()
        if row["request_id"] in responses
    }


def second_answer(request: Request, response: Response, *, planner: Planner) -> Answer:
    """Puts a second answer before the filters; the question was in the wording's language."""
    renderer = planner.backbone.renderer
    return Answer(
        text=response.text,
        finish_reason=response.finish_reason,
        transcript=request.transcript_prepared,
        task=_ANSWERS,
        may_copy=False,
        expected_language=request.instruction_language,
        control_strings=renderer.control_strings if renderer else (),
        mean_logprob=response.mean_logprob,
    )
