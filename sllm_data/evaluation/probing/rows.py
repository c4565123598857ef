"""A row with the places of its instruction and of its content, on the side that hears and reads.

    speech   <s> user: List the keywords. [a a a a a a] </s> assistant: ferry, fog
    text     <s> user: List the keywords. THE FERRY ... </s> assistant: ferry, fog
                       instruction        content                      answer

Places are found by leaving something out: what the conversation with it has and the one without
it lacks. So they hold for every chat template.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sllm_data.audio.decode import DecodedClip
from sllm_data.errors import ShardError
from sllm_data.records import Message, Span, Turn
from sllm_data.trainer.data.building import HeardRow
from sllm_data.trainer.data.conversation import encode_row
from sllm_data.trainer.data.pages import Clips
from sllm_data.trainer.data.reading import Row
from sllm_data.trainer.trained import Trained

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """Where things stand on one side of a row: places among its positions."""

    instruction: Places
    content: Places
    """Speech, or its transcript."""
    answer: Places
    """Where the state stands that predicts a token of the reference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A row that can be looked into."""

    row: Row
    clips: tuple[DecodedClip, ...]
    forced: HeardRow
    """With labels and twin."""
    speech: Side
    text: Side


def is_plain(row: Row) -> bool:
    """Tells whether a row is one question about one clip: text, and speech that is heard once."""
    question = row.turns[:-1]
    spans = [span for turn in question for span in turn.content]
    return (
        [turn.role for turn in row.turns] == ["user", "assistant"]
        and sum(span.text is None for span in spans) == 1
        and sum(bool((span.text or "").strip()) for span in spans) == 1
        and bool(row.extra["transcript_prepared"].strip())
        and row.extra["transcript_prepared"] in row.text_messages[0].content
    )


def open_probe(trained: Trained, row: Row, clips: Clips) -> Probe:
    """Opens a plain row.

    Raises:
        ShardError: Its clip is not there, or it is no row to train on.
        UndecodableAudioError: Its clip can't be decoded.
    """
    heard = clips.clips_of(row.audio_refs)
    forced = encode(trained, row, heard)
    bare = encode(trained, without_instruction(row), heard)
    mute = encode(trained, with_transcript(row, ""), heard)
    assert forced.row.twin is not None  # noqa: S101 - they were asked for
    assert bare.row.twin is not None  # noqa: S101
    assert mute.row.twin is not None  # noqa: S101
    text, twin = forced.row.text, forced.row.twin
    return Probe(
        row=row,
        clips=heard,
        forced=forced,
        speech=Side(
            instruction=_left_out(text.token_ids, bare.row.text.token_ids),
            content=text.audio_positions.astype(np.int64),
            answer=text.label_positions.astype(np.int64),
        ),
        text=Side(
            instruction=_left_out(twin.token_ids, bare.row.twin.token_ids),
            content=_left_out(twin.token_ids, mute.row.twin.token_ids),
            answer=twin.label_positions.astype(np.int64),
        ),
    )


def encode(trained: Trained, row: Row, clips: Sequence[DecodedClip]) -> HeardRow:
    """Encodes a row, or one that was changed, with its labels and its twin.

    Raises:
        ShardError: It is no row to train on.
    """
    return encode_row(
        row,
        clips=clips,
        renderer=trained.renderer,
        geometry=trained.model.geometry,
        twin=True,
    )


def instruction_of(row: Row) -> str:
    """Returns what a plain row is asked on the side that hears."""
    (text,) = (
        span.text for span in row.turns[0].content if span.text is not None and span.text.strip()
    )
    return text.strip()


def without_instruction(row: Row) -> Row:
    """Returns a plain row that holds nothing but its speech, or its transcript."""
    spans = tuple(span for span in row.turns[0].content if span.text is None)
    return _asked(row, spans, row.extra["transcript_prepared"])


def with_instruction(row: Row, instruction: str) -> Row:
    """Returns a plain row that asks something else about the same speech."""
    spans = tuple(
        replace(span, text=span.text.replace(span.text.strip(), instruction))
        if span.text is not None and span.text.strip()
        else span
        for span in row.turns[0].content
    )
    return _asked(row, spans, row.text_messages[0].content)


def with_clip(row: Row, num_samples: int) -> Row:
    """Returns a plain row that hears all of a clip of so many samples."""
    spans = tuple(
        replace(span, start_sample=0, num_samples=num_samples) if span.text is None else span
        for span in row.turns[0].content
    )
    return _asked(row, spans, row.text_messages[0].content)


def with_transcript(row: Row, text: str) -> Row:
    """Returns a plain row that reads something else where its transcript stood."""
    before, _, behind = row.text_messages[0].content.rpartition(row.extra["transcript_prepared"])
    return _asked(row, row.turns[0].content, f"{before}{text}{behind}")


def _asked(row: Row, spans: tuple[Span, ...], text: str) -> Row:
    turns = (Turn(role="user", content=spans), *row.turns[1:])
    messages = (Message(role="user", content=text), *row.text_messages[1:])
    return replace(row, turns=turns, text_messages=messages)


def _left_out(whole: npt.NDArray[np.int32], rest: npt.NDArray[np.int32]) -> Places:
    """Returns the places of one stretch that `whole` has and `rest` lacks.

    >>> _left_out(np.array([1, 7, 8, 2, 3], np.int32), np.array([1, 2, 3], np.int32))
    array([1, 2])
    """
    shorter = min(len(whole), len(rest))
    start = _common(whole[:shorter], rest[:shorter])
    end = _common(whole[::-1][: shorter - start], rest[::-1][: shorter - start])
    return np.arange(start, len(whole) - end, dtype=np.int64)


def _common(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]) -> int:
    """Returns how many ids at the beginning are the same."""
    differ = np.flatnonzero(a != b)
    return int(differ[0]) if len(differ) else len(a)


def chosen_probes(
    trained: Trained, rows: Sequence[Row], clips: Clips, *, per_task: int
) -> list[Probe]:
    """Opens the first plain rows of each task.

    Raises:
        ShardError: There is not one, or a clip is not there.
        UndecodableAudioError: A clip can't be decoded.
    """
    taken: dict[str, int] = {}
    probes = []
    for row in rows:
        if is_plain(row) and taken.get(row.task, 0) < per_task:
            taken[row.task] = taken.get(row.task, 0) + 1
            probes.append(open_probe(trained, row, clips))
    if not probes:
        raise ShardError(
            "diagnostics need rows of one question about one clip with its transcript, none of "
            f"{len(rows):,} is one; leave --diagnose out"
        )
    return probes
