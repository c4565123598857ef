"""One answer with what the filters must know about its request."""

import json

from sllm_data.filtering.verdicts import Answer
from sllm_data.records import Request, Response
from sllm_data.sampling import TaskConfig
from sllm_data.steps.planner import Planner


def answer_to(
    request: Request,
    response: Response,
    *,
    planner: Planner,
    judge_score: int | None,
    language: str | None = None,
) -> Answer:
    """Puts a response beside its request for `filtering.judge_response`.

    Args:
        request: What was asked.
        response: What was answered.
        planner: Knows the tasks and the model's control tokens.
        judge_score: From 1 to 5, where a judge was asked.
        language: Of the utterance; None leaves answers in that language unjudged.
    """
    task = planner.config.tasks[request.task]
    renderer = planner.backbone.renderer
    return Answer(
        text=response.text,
        finish_reason=response.finish_reason,
        transcript=request.transcript_prepared,
        task=request.task,
        may_copy=task.may_copy,
        expects_json=task.expects_json,
        expected_language=expected_language(request, task, utterance=language),
        control_strings=renderer.control_strings if renderer else (),
        mean_logprob=response.mean_logprob,
        judge_score=judge_score,
    )


def expected_language(request: Request, task: TaskConfig, *, utterance: str | None) -> str | None:
    """The language that the answer must be in; None where any will do."""
    match task.response_language:
        case "utterance":
            return utterance
        case "instruction":
            return request.instruction_language
        case "to":
            target: str = json.loads(request.task_params)["to"]
            return target
        case _:
            return None
