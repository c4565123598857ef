"""The pass `question`: what the wordings of some tasks ask about, written by the backbone.

    transcript ──> question, or a statement that is true or false ──> wording of the task

It goes in front of `main`, whose prompts hold what was written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sllm_data.config import RunConfig
from sllm_data.prompting.languages import language_name
from sllm_data.prompting.questions import UnusableQuestionError, question_in
from sllm_data.records import Pass, Request
from sllm_data.seeding import hash128
from sllm_data.shards import part_name, read_part
from sllm_data.steps.planner import Asked, Planner
from sllm_data.steps.side_passes import side_draft

_TURN: Pass = "question"
_MAX_TOKENS = 96


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was written for one utterance and task, or why it can't be used."""

    text: str | None = None
    fault: str = ""


def question_drafts(planner: Planner, asked: Sequence[Asked]) -> list[Request]:
    """The requests that let the backbone write what the tasks of these utterances ask about."""
    return list(_drafts(planner, asked))


def _drafts(planner: Planner, asked: Sequence[Asked]) -> Iterator[Request]:
    for row in asked:
        for name in row.tasks:
            if not planner.config.asks_about(name):
                continue
            kind: str = planner.config.tasks[name].question
            if kind == "statement":
                kind = f"statement_{planner.params_for(row, name)['truth']}"
            language = planner.instruction_for(row, name).language
            template = planner.templates[kind]
            content = template.render(
                transcript=row.prepared, language=language_name(language, "en")
            )
            yield side_draft(
                planner,
                row,
                turn=_TURN,
                task=name,
                sample_id=hash128(row.audio_id, _TURN, name),
                template=template,
                messages=planner.with_system(content),
                sampling=planner.sampling(max_tokens=_MAX_TOKENS),
            )


def written_questions(
    root: Path, number: int, config: RunConfig
) -> dict[tuple[str, str], Written]:
    """What the backbone wrote for the rows of a part, by audio_id and task."""
    requests = read_part(
        root / f"requests/{_TURN}" / part_name(number), ["request_id", "audio_id", "task"]
    ).to_pylist()
    responses = read_part(
        root / f"responses/{_TURN}" / part_name(number), ["request_id", "text", "finish_reason"]
    ).to_pylist()
    answers = {row["request_id"]: row for row in responses}
    return {
        (row["audio_id"], row["task"]): written(
            answers[row["request_id"]]["text"],
            kind=config.tasks[row["task"]].question,
            finish_reason=answers[row["request_id"]]["finish_reason"],
        )
        for row in requests
        if row["request_id"] in answers
    }


def written(answer: str, *, kind: str, finish_reason: str) -> Written:
    """Reads the question or statement in an answer."""
    if finish_reason == "length":
        return Written(fault=f"the {kind} must come to an end, it was cut off")
    try:
        return Written(text=question_in(answer, kind=kind))
    except UnusableQuestionError as error:
        return Written(fault=str(error))
