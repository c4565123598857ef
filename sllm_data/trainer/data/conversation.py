"""One row, or one question about a clip, as a batch: for evaluation and inference.

The same renderer, features and packs as in training; only the clips are handed over by the
caller, who may silence them, swap them, or have no dataset at all.

    turns = ask("What is said?", clip=clip)
    prompt = encode_prompt(turns, clips=[clip], renderer=renderer, geometry=model.geometry)
    batch = prompts_batch([prompt])
"""

from collections.abc import Sequence

from sllm_data.audio.decode import DecodedClip
from sllm_data.chat import ChatRenderer, Conversation
from sllm_data.errors import ShardError
from sllm_data.records import Span, Turn
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.data.building import HeardRow, UnheardError, features_of, pack
from sllm_data.trainer.data.encoding import (
    EncodedRow,
    EncodedText,
    FactsOf,
    UnusableRowError,
    encode_rows,
    place_audio,
    stretches_of,
    text_side,
)
from sllm_data.trainer.data.reading import Address, ClipFacts, Row
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.units import Hertz

_NOWHERE = Address(0, 0, 0)


def encode_row(
    row: Row,
    *,
    clips: Sequence[DecodedClip],
    renderer: ChatRenderer,
    geometry: AudioGeometry,
    twin: bool = False,
) -> HeardRow:
    """Encodes a row with its labels, as in training.

    Args:
        row: Of a dataset, or changed: other turns, other spans.
        clips: For each of its `audio_refs` what is heard.
        renderer: Of the LLM.
        geometry: Of the encoder and connector.
        twin: Whether to add the side that reads.

    Raises:
        ShardError: The row can't be trained on.
    """
    (found,) = encode_rows(
        [row], renderer=renderer, geometry=geometry, facts_of=_facts(row, clips), twins=twin
    )
    if isinstance(found, UnusableRowError):
        raise ShardError(f"{row.sample_id}: must be a row to train on, found {found}")
    return _heard(found, row, clips, geometry)


def encode_prompt(
    turns: Sequence[Turn],
    *,
    clips: Sequence[DecodedClip] = (),
    gains_db: Sequence[float] = (),
    renderer: ChatRenderer,
    geometry: AudioGeometry,
    sample_id: str = "",
) -> HeardRow:
    """Encodes a question, with the generation prompt behind it and without labels.

    Args:
        turns: Ends with a user turn; audio spans name clips by `audio_index`.
        clips: What is heard.
        gains_db: Of each audio span; none where empty.
        renderer: Of the LLM.
        geometry: Of the encoder and connector.
        sample_id: Of the row that it comes from.

    Raises:
        ShardError: A span names no clip, or reaches beyond it.
        ModelError: The template refuses the roles.
    """
    num_spans = sum(span.text is None for turn in turns for span in turn.content)
    row = Row(
        address=_NOWHERE,
        sample_id=sample_id,
        kind="",
        task="",
        corpus="",
        turns=tuple(turns),
        gains_db=tuple(gains_db) or (0.0,) * num_spans,
        text_messages=(),
        audio_refs=tuple((0, str(place)) for place in range(len(clips))),
        is_complete=True,
        chat_template_sha256="",
    )
    try:
        stretches = stretches_of(row, geometry=geometry, facts_of=_facts(row, clips))
    except UnusableRowError as error:
        raise ShardError(
            f"{sample_id or 'prompt'}: must be a question about its clips, found {error}"
        ) from error
    (side,) = renderer.encode_turns([Conversation(turns=row.turns)], generation_prompt=True)
    text = place_audio(side, [each.num_positions for each in stretches])
    none = text.labels[:0]
    text = EncodedText(
        token_ids=text.token_ids,
        label_positions=none,
        labels=none,
        audio_positions=text.audio_positions,
    )
    encoded = EncodedRow(sample_id=sample_id, text=text, stretches=stretches)
    return _heard(encoded, row, clips, geometry)


def prompts_batch(rows: Sequence[HeardRow]) -> PackedBatch:
    """Packs rows or prompts, at least one, whatever their length together."""
    return pack(rows)


def ask(
    instruction: str, *, clip: DecodedClip | None, audio_first: bool = False, system: str = ""
) -> tuple[Turn, ...]:
    """Returns the turns of a question about a whole clip, or of one without a clip.

    The instruction and the clip stand apart by an empty line, as in the shipped templates.
    """
    heard: tuple[Span, ...] = ()
    text = instruction
    if clip is not None:
        heard = (Span(type="audio", audio_index=0, start_sample=0, num_samples=len(clip.samples)),)
        text = f"\n\n{instruction}" if audio_first else f"{instruction}\n\n"
    read = (Span(type="text", text=text),)
    spans = (*heard, *read) if audio_first else (*read, *heard)
    first = (Turn(role="system", content=(Span(type="text", text=system),)),) if system else ()
    return (*first, Turn(role="user", content=spans))


def question_of(row: Row) -> tuple[Turn, ...]:
    """Returns the turns of a row up to its last answer."""
    return _question(row.turns)


def read_question_of(row: Row) -> tuple[Turn, ...]:
    """Returns the same of the side that reads.

    Raises:
        ShardError: The two sides have not the same turns.
    """
    try:
        return _question(text_side(row))
    except UnusableRowError as error:
        raise ShardError(f"{row.sample_id}: must have a text side, found {error}") from error


def _question(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    return tuple(turns[:-1] if turns[-1].role == "assistant" else turns)


def _facts(row: Row, clips: Sequence[DecodedClip]) -> FactsOf:
    known = {
        ref: ClipFacts(Hertz(clip.sampling_rate), len(clip.samples))
        for ref, clip in zip(row.audio_refs, clips, strict=True)
    }
    return lambda part, audio_id: known.get((part, audio_id))


def _heard(
    encoded: EncodedRow, row: Row, clips: Sequence[DecodedClip], geometry: AudioGeometry
) -> HeardRow:
    of = dict(zip(row.audio_refs, clips, strict=True))
    try:
        features = tuple(
            features_of(of[each.audio_part, each.audio_id], each, geometry=geometry)
            for each in encoded.stretches
        )
    except UnheardError as error:
        raise ShardError(f"{row.sample_id}: {error}") from error
    return HeardRow(row=encoded, features=features, mels=geometry.mels)
