"""What a pass is to ask of each utterance of a part: its transcript as shown, its tasks.

An utterance that can't be asked is a rejection of the pass that tells it, not of each.
"""

from collections import Counter
from typing import Any

from sllm_data.config import RunConfig
from sllm_data.prompting.preparation import check_restored, prepare
from sllm_data.records import Reason, Rejection
from sllm_data.shards import part_name, read_part
from sllm_data.steps.planner import Asked, longest_transcript
from sllm_data.steps.questions import Written, written_questions
from sllm_data.steps.side_passes import restored_answers

_NEVER_WRITTEN = Written(fault="what the wording asks about must have been written, was not")


def needs_questions(config: RunConfig, turn: str) -> bool:
    """Whether a pass asks about what the pass `question` wrote."""
    return turn == "main" and config.writes_questions


def asked_of(
    config: RunConfig, *, number: int, audio_part: int, turn: str, restored: Counter[str]
) -> tuple[list[Asked], list[Rejection]]:
    """Returns the utterances of an index part that a pass asks about, and those that it can't.

    Args:
        config: Of the run.
        number: Of the index part.
        audio_part: That it is over.
        turn: The pass: restore, question or main.
        restored: Counts how many transcripts were restored and how many kept as read.
    """
    root = config.output
    columns = ["audio_id", "language", "transcript", "speaker"]
    texts = {
        row["audio_id"]: row
        for row in read_part(root / "audio" / part_name(audio_part), columns).to_pylist()
    }
    answers: dict[str, str] = {}
    if turn != "restore" and config.prompts.preparation == "restored":
        answers = restored_answers(config.output, number)
    written: dict[tuple[str, str], Written] = {}
    if needs_questions(config, turn):
        written = written_questions(root, number, config)
    asked: list[Asked] = []
    rejected: list[Rejection] = []
    for row in read_part(root / "index" / part_name(number)).to_pylist():
        if not row["kept"]:
            continue
        text = texts[row["audio_id"]]
        prepared = _prepared(text, answers.get(row["audio_id"]), config, turn, restored)
        unfit = _unfit(row["audio_id"], prepared, config)
        if unfit is not None:
            if _tells(turn, unfit.reason):
                rejected.append(unfit)
            continue
        questions: dict[str, str] = {}
        tasks = tuple(row["tasks"])
        if turn == "main":
            questions, lacking = _questions(row, written, config)
            rejected += lacking
            tasks = tuple(n for n in tasks if n in questions or not config.asks_about(n))
        asked.append(
            Asked(
                audio_id=row["audio_id"],
                audio_part=audio_part,
                language=text["language"],
                prepared=prepared,
                split=row["split"],
                tasks=tasks,
                emotion=text["speaker"]["emotion"],
                written=questions,
            )
        )
    return asked, rejected


def _prepared(
    text: dict[str, Any], answer: str | None, config: RunConfig, turn: str, restored: Counter[str]
) -> str:  # Any: audio columns
    """The transcript as the backbone is shown it in a pass."""
    as_read: str = text["transcript"].strip()
    how = config.prompts.preparation
    if turn == "restore":
        return as_read
    if how != "restored":
        return prepare(text["transcript"], how=how, language=text["language"])
    whole = None
    if answer is not None:
        whole = check_restored(as_read, answer, language=text["language"])
    restored["kept_as_read" if whole is None else "restored"] += 1
    return as_read if whole is None else whole


def _tells(turn: str, reason: Reason) -> bool:
    """Whether a pass rejects an utterance for a reason that another pass finds as well."""
    if reason == Reason.EMPTY_TRANSCRIPT:
        return turn != "question"
    return turn == "main"


def _questions(
    row: dict[str, Any], written: dict[tuple[str, str], Written], config: RunConfig
) -> tuple[dict[str, str], list[Rejection]]:  # Any: index columns
    """What the tasks of an utterance ask about, and the tasks for which nothing was written."""
    audio_id = row["audio_id"]
    found: dict[str, str] = {}
    rejections: list[Rejection] = []
    for name in row["tasks"]:
        if not config.asks_about(name):
            continue
        made = written.get((audio_id, name), _NEVER_WRITTEN)
        if made.text is not None:
            found[name] = made.text
            continue
        rejections.append(
            Rejection(
                row_id=f"{audio_id}:{name}",
                audio_id=audio_id,
                step="plan",
                reason=Reason.NO_QUESTION,
                detail=made.fault,
            )
        )
    return found, rejections


def _unfit(audio_id: str, prepared: str, config: RunConfig) -> Rejection | None:
    """Why a transcript can't be asked about, if it can't."""
    longest = longest_transcript(config.prompts.max_prompt_tokens)
    if not prepared:
        return _left_empty(audio_id, config.prompts.preparation)
    if len(prepared.encode()) > longest:
        return _overlong(audio_id, prepared, longest)
    return None


def _left_empty(audio_id: str, how: str) -> Rejection:
    return Rejection(
        row_id=audio_id,
        audio_id=audio_id,
        step="plan",
        reason=Reason.EMPTY_TRANSCRIPT,
        detail=f"the transcript must hold words, the preparation {how!r} leaves none",
    )


def _overlong(audio_id: str, transcript: str, longest: int) -> Rejection:
    return Rejection(
        row_id=audio_id,
        audio_id=audio_id,
        step="plan",
        reason=Reason.PROMPT_TOO_LONG,
        detail=f"the transcript must have at most {longest} bytes to fit into a prompt, "
        f"has {len(transcript.encode())}",
    )
