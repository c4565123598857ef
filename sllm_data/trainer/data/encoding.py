"""A row as tokens, labels and stretches of audio: all that its place in a pack depends on.

Nothing is decoded here. How many positions a stretch takes follows from its samples and the
geometry, so whole epochs are planned from the headers of the parts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sllm_data.chat import AUDIO, ChatRenderer, Conversation, EncodedTurns
from sllm_data.records import Span, Turn
from sllm_data.trainer.data.reading import ClipFacts, Row
from sllm_data.trainer.geometry import AudioGeometry

Numbers = npt.NDArray[np.int32]
FactsOf = Callable[[int, str], ClipFacts | None]


class UnusableRowError(ValueError):
    """A row can't be trained on; its text is the reason under which it is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """One audio span of a row."""

    audio_part: int
    audio_id: str
    start: int
    """In samples at the clip's own rate."""
    num_samples: int
    """At the clip's own rate."""
    num_heard: int
    """Samples at the encoder's rate."""
    num_frames: int
    num_positions: int
    seconds: float
    gain_db: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedText:
    """One side of a row: P positions, L labels, A of the positions audio."""

    token_ids: Numbers
    """(P,): 0 where audio stands."""
    label_positions: Numbers
    """(L,): one in front of each label's token."""
    labels: Numbers
    """(L,)"""
    audio_positions: Numbers
    """(A,)"""

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedRow:
    """A row, ready to be packed."""

    sample_id: str
    text: EncodedText
    stretches: tuple[Stretch, ...]
    twin: EncodedText | None = None


def encode_rows(
    rows: Sequence[Row],
    *,
    renderer: ChatRenderer,
    geometry: AudioGeometry,
    facts_of: FactsOf,
    twins: bool = False,
    read: Sequence[bool] = (),
) -> list[EncodedRow | UnusableRowError]:
    """Encodes rows with their labels; many at once, since that is how tokenizers are fast.

    Args:
        rows: Of one dataset.
        renderer: Of the LLM that is trained.
        geometry: How many positions a stretch takes.
        facts_of: Rate and length of a clip by part and id, None where there is none.
        twins: Whether to add the side that reads.
        read: Of each row, whether it is read instead of heard; none is where this is empty.

    Returns:
        For each row, what it became or why it can't be used.
    """
    read = read or [False] * len(rows)
    sides: list[tuple[Turn, ...] | None] = []  # two of each row: what is trained, its twin
    found: list[tuple[Stretch, ...] | UnusableRowError] = []
    for row, is_read in zip(rows, read, strict=True):
        try:
            twin = text_side(row) if twins or is_read else None
            stretches = () if is_read else stretches_of(row, geometry=geometry, facts_of=facts_of)
        except UnusableRowError as error:
            found.append(error)
            sides += [None, None]
            continue
        found.append(stretches)
        sides += [twin if is_read else row.turns, twin if twins else None]
    encoded = _encode_sides(sides, rows, renderer)
    return [
        what if isinstance(what, UnusableRowError) else _row(row, what, *two)
        for row, what, two in zip(rows, found, zip(encoded, encoded, strict=True), strict=True)
    ]


def _encode_sides(
    sides: Sequence[tuple[Turn, ...] | None], rows: Sequence[Row], renderer: ChatRenderer
) -> Iterator[EncodedTurns | None]:
    conversations = [
        Conversation(turns=turns, is_complete=rows[place // 2].is_complete)
        for place, turns in enumerate(sides)
        if turns is not None
    ]
    encoded = iter(renderer.encode_turns(conversations))
    return iter([None if turns is None else next(encoded) for turns in sides])


def _row(
    row: Row,
    stretches: tuple[Stretch, ...],
    side: EncodedTurns | None,
    twin_side: EncodedTurns | None,
) -> EncodedRow | UnusableRowError:
    assert side is not None  # noqa: S101 - of every row without an error
    text = place_audio(side, [each.num_positions for each in stretches])
    twin = place_audio(twin_side, []) if twin_side else None
    if not len(text.labels):
        return UnusableRowError("nothing_supervised")
    if twin is not None and not np.array_equal(twin.labels, text.labels):
        return UnusableRowError("twin_has_other_labels")
    return EncodedRow(sample_id=row.sample_id, text=text, stretches=stretches, twin=twin)


def text_side(row: Row) -> tuple[Turn, ...]:
    """Returns the side that reads, supervised where the side that hears is.

    Raises:
        UnusableRowError: The two sides have not the same turns.
    """
    if [turn.role for turn in row.turns] != [message.role for message in row.text_messages]:
        raise UnusableRowError("twin_has_other_turns")
    return tuple(
        replace(turn, content=(_read(message.content, turn),))
        for turn, message in zip(row.turns, row.text_messages, strict=True)
    )


def _read(text: str, turn: Turn) -> Span:
    return Span(type="text", text=text, supervised=any(span.supervised for span in turn.content))


def stretches_of(row: Row, *, geometry: AudioGeometry, facts_of: FactsOf) -> tuple[Stretch, ...]:
    """Returns the audio spans of a row with their lengths.

    Raises:
        UnusableRowError: A clip is not there, or a span reaches beyond its clip.
    """
    spans = [span for turn in row.turns for span in turn.content if span.text is None]
    return tuple(
        _stretch(span, gain_db, row, geometry, facts_of)
        for span, gain_db in zip(spans, row.gains_db, strict=True)
    )


def _stretch(
    span: Span, gain_db: float, row: Row, geometry: AudioGeometry, facts_of: FactsOf
) -> Stretch:
    index, start, num_samples = span.audio_index, span.start_sample, span.num_samples
    if (
        index is None
        or start is None
        or num_samples is None
        or not 0 <= index < len(row.audio_refs)
    ):
        raise UnusableRowError("span_without_clip")
    part, audio_id = row.audio_refs[index]
    facts = facts_of(part, audio_id)
    if facts is None:
        raise UnusableRowError("audio_missing")
    if start < 0 or num_samples < 1 or start + num_samples > facts.num_samples:
        raise UnusableRowError("span_outside_clip")
    num_frames = geometry.num_frames(num_samples, facts.rate_hz)
    return Stretch(
        audio_part=part,
        audio_id=audio_id,
        start=start,
        num_samples=num_samples,
        num_heard=geometry.num_samples(num_samples, facts.rate_hz),
        num_frames=num_frames,
        num_positions=geometry.num_positions(num_frames),
        seconds=num_samples / facts.rate_hz,
        gain_db=gain_db,
    )


def place_audio(side: EncodedTurns, num_positions: Sequence[int]) -> EncodedText:
    """Makes room for audio: each gap becomes as many positions as its stretch takes.

    Args:
        side: Tokens, with AUDIO for each audio span.
        num_positions: Of each span, in their order.
    """
    ids = np.array(side.token_ids, np.int32)
    widths = np.ones(len(ids), np.int64)
    widths[ids == AUDIO] = num_positions
    places = np.cumsum(widths) - widths  # where each token came to stand
    wide = np.repeat(ids, widths)
    trained = np.flatnonzero(np.array(side.trained[1:], bool)) + 1  # nothing predicts the first
    audio = np.flatnonzero(wide == AUDIO)
    wide[audio] = 0
    return EncodedText(
        token_ids=wide,
        label_positions=(places[trained] - 1).astype(np.int32),
        labels=ids[trained],
        audio_positions=audio.astype(np.int32),
    )
