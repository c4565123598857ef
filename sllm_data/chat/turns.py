r"""Conversations that hold audio: token ids with gaps for it, and which of them are labels.

    user       "What is said? " [audio]              <|turn|>user\nWhat is said? AUDIO<|end|>
    assistant  "rain" (supervised)                   <|turn|>assistant\nrain<|end|>
    trained                                                             ----^^^^^^^

Audio parts a text as a control token does: what stands on both sides is encoded by itself, by
the tokenizer that knows no control token. Without audio the ids are those of transformers'
`apply_chat_template`, answers included. Where a template writes something else in front of an
answer than it does for one that is still to come (a system turn that it shows to the last user
turn only, an empty thought), what counts is what is asked when the model answers; and what it
writes between the question and the answer, such as a space, the model must learn to write.

An answer's end is trained with it: all that the template writes up to its next control token.
Where it writes none before somebody else speaks, the tokenizer's end of text is put there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

from sllm_data.chat.apart import ApartEncoder, Prompt, Section
from sllm_data.chat.controls import Controls
from sllm_data.chat.skeleton import Skeleton, Slot
from sllm_data.errors import ModelError
from sllm_data.records import Span, Turn

AUDIO = -1
"""Stands for a whole audio span among token ids."""

Key = tuple[tuple[str, str | None], ...]
"""Role of each turn, and its content where that is blank."""

_MAX_REPEATED = 1024
_Range = tuple[int, int]


class Prompts(Protocol):
    """Gives what conversations with one sequence of roles share."""

    def __call__(self, key: Key, *, generation_prompt: bool) -> Prompt:
        """Raises ModelError where the template refuses the roles."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """Turns of text and audio."""

    turns: tuple[Turn, ...]
    is_complete: bool = True
    """Whether the last answer came to its end; the end of one that was cut is not trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedTurns:
    """A conversation as token ids."""

    token_ids: list[int]
    """AUDIO where an audio span stands, in the order of the spans."""
    trained: list[bool]
    """Whether each of them is a label."""


@dataclass(slots=True)
class _Text:
    """Text that is encoded as a whole; `ranges` of its characters are trained."""

    text: str
    ranges: list[_Range]
    opens: bool
    repeats: bool


@dataclass(slots=True)
class _Fixed:
    ids: tuple[int, ...]
    trained: tuple[bool, ...]


@dataclass(slots=True)
class _Layout:
    """What a conversation is made of, in order."""

    items: list[_Text | _Fixed] = field(default_factory=list)
    opens: bool = True
    _parts: list[str] = field(default_factory=list)
    _ranges: list[_Range] = field(default_factory=list)

    def add_text(self, text: str, *, trained: bool) -> None:
        """Puts text behind what is there, to be encoded together with text beside it."""
        if trained and text:
            start = sum(map(len, self._parts))
            self._ranges.append((start, start + len(text)))
        self._parts.append(text)

    def add_ids(self, ids: Sequence[int], trained: Sequence[bool]) -> None:
        """Puts ids behind what is there."""
        self.close()
        self.items.append(_Fixed(tuple(ids), tuple(trained)))
        self.opens = False

    def close(self, *, repeats: bool = False) -> None:
        """Ends the text."""
        if text := "".join(self._parts):
            self.items.append(_Text(text, self._ranges, self.opens, repeats and not self._ranges))
            self.opens = False
        self._parts, self._ranges = [], []


class TurnEncoder:
    """Encodes conversations of text and audio by one model's template and tokenizer.

    Attributes:
        stop_ids: What ends an answer: its end in the template, and the end of text.
    """

    def __init__(
        self, controls: Controls, apart: ApartEncoder, prompts: Prompts, *, end_id: int | None
    ) -> None:
        self._controls = controls
        self._apart = apart
        self._prompts = prompts
        self._end_id = end_id
        self._answered = lru_cache(maxsize=_MAX_REPEATED)(self._build_answered)
        self._repeated = lru_cache(maxsize=_MAX_REPEATED)(self._encode_repeated)

    @property
    def stop_ids(self) -> frozenset[int]:
        """What ends an answer: its end in the template, and the end of text."""
        prompt, _ = self._answered((("user", None), ("assistant", None)))
        behind = prompt.skeleton.stream[_last_slot(prompt.skeleton.stream) + 1 :]
        ends = [part for part in behind if isinstance(part, int)][:1]
        return frozenset(ends) | (frozenset() if self._end_id is None else {self._end_id})

    def encode(
        self, conversations: Sequence[Conversation], *, generation_prompt: bool
    ) -> list[EncodedTurns]:
        """Encodes conversations; see the module.

        Raises:
            ModelError: The template refuses the roles, or no token can end an answer.
        """
        layouts = [self._lay_out(each, asks=generation_prompt) for each in conversations]
        texts: dict[tuple[bool, bool], list[str]] = {}
        for item in (item for layout in layouts for item in layout.items):
            if isinstance(item, _Text) and not item.repeats:
                texts.setdefault((item.opens, bool(item.ranges)), []).append(item.text)
        encoded = {
            kind: iter(self._encode(batch, opens=kind[0], with_offsets=kind[1]))
            for kind, batch in texts.items()
        }
        rows = []
        for layout in layouts:
            row = EncodedTurns(token_ids=[], trained=[])
            for item in layout.items:
                if isinstance(item, _Fixed):
                    ids, trained = item.ids, item.trained
                elif item.repeats:
                    ids = self._repeated(item.text, item.opens)
                    trained = (False,) * len(ids)
                else:
                    ids, offsets = next(encoded[item.opens, bool(item.ranges)])
                    trained = tuple(_trained(offsets, item.ranges))
                row.token_ids.extend(ids)
                row.trained.extend(trained or (False,) * len(ids))
            rows.append(row)
        return rows

    def _encode(
        self, texts: list[str], *, opens: bool, with_offsets: bool
    ) -> Iterator[tuple[tuple[int, ...], Sequence[_Range]]]:
        tokenizer = self._controls.opening if opens else self._controls.inner
        encode = tokenizer.encode_batch if with_offsets else tokenizer.encode_batch_fast
        for text, encoding in zip(texts, encode(texts, add_special_tokens=False), strict=True):
            ids = tuple(encoding.ids)
            if not self._controls.ids.isdisjoint(ids):
                raise ModelError(
                    "the tokenizer yields control tokens for plain text such as "
                    f"{text[-80:]!r}; choose another model"
                )
            yield ids, encoding.offsets if with_offsets else ()

    def _encode_repeated(self, text: str, opens: bool) -> tuple[int, ...]:  # noqa: FBT001 - cached
        ((ids, _),) = self._encode([text], opens=opens, with_offsets=False)
        return ids

    def _lay_out(self, conversation: Conversation, *, asks: bool) -> _Layout:
        turns = conversation.turns
        key = tuple((turn.role, _blank(turn)) for turn in turns)
        answered = bool(turns) and turns[-1].role == "assistant" and not asks
        if answered:
            prompt, lead = self._answered(key)
        else:
            prompt, lead = self._prompts(key, generation_prompt=asks), 0
        layout = _Layout()
        ends = False  # whether what comes up to the next control token ends a trained answer
        for part, after in pairwise((*prompt.plan, None)):
            if isinstance(part, tuple):
                layout.add_ids(part, [ends and place == 0 for place in range(len(part))])
                ends = False
                continue
            assert isinstance(part, Section)  # noqa: S101 - only the end is None
            ends = self._add_section(
                layout, part, conversation, lead=lead, guarded=after is not None, ends=ends
            )
            layout.close(repeats=part.repeats)
        return layout

    def _add_section(
        self,
        layout: _Layout,
        section: Section,
        conversation: Conversation,
        *,
        lead: int,
        guarded: bool,
        ends: bool,
    ) -> bool:
        """Adds a section to the layout; returns whether the next token ends a trained answer."""
        turns = conversation.turns
        last = max(place for place, p in enumerate(section.pieces) if isinstance(p, Slot))
        for place, (piece, after) in enumerate(pairwise((*section.pieces, ""))):
            if isinstance(piece, str):
                leads = isinstance(after, Slot) and after.message == len(turns) - 1
                cut = max(0, len(piece) - lead) if leads else len(piece)
                layout.add_text(piece[:cut], trained=ends)
                layout.add_text(piece[cut:], trained=ends or turns[-1].content[0].supervised)
                continue
            turn = turns[piece.message]
            for span in _stripped(turn.content, piece):
                if span.text is None:
                    layout.add_ids([AUDIO], [False])
                else:
                    layout.add_text(span.text, trained=span.supervised)
            ends = _is_trained_to_its_end(turn, conversation)
            if turn.role == "assistant" and not (guarded and place == last):
                layout.add_ids([self._end_of_text()], [ends])
                ends = False
        return ends

    def _end_of_text(self) -> int:
        if self._end_id is None:
            raise ModelError(
                "the chat template writes no control token behind an answer, and the tokenizer "
                "has no end of text: a model could not learn to end one; give a chat_template "
                "that writes one, or a tokenizer with eos_token"
            )
        return self._end_id

    def _build_answered(self, key: Key) -> tuple[Prompt, int]:
        """Returns the prompt of a conversation that ends with an answer.

        And how many characters in front of the answer are not in the prompt that asks for it.
        """
        if len(key) == 1 or key[-1][1] is not None:  # nothing is asked; a blank leaves no slot
            return self._prompts(key, generation_prompt=False), 0
        asked = self._prompts(key[:-1], generation_prompt=True)
        try:
            whole = self._prompts(key, generation_prompt=False)
        except ModelError:  # a template that can't show all roles at once, but can ask
            whole = self._prompts(key[-2:], generation_prompt=False)
        *before, question = asked.skeleton.text
        shown = whole.skeleton.text[len(before)]
        if (
            list(whole.skeleton.text[: len(before)]) == before
            and isinstance(question, str)
            and isinstance(shown, str)
            and shown.startswith(question)
        ):
            return whole, len(shown) - len(question)
        skeleton = _joined(asked.skeleton, whole.skeleton, message=len(key) - 1)
        plan = self._apart.plan(skeleton)
        return Prompt(skeleton=skeleton, plan=plan, separable=asked.separable), 0


def fold_system(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Moves a leading system turn into the user turn after it, as its first paragraph."""
    if [turn.role for turn in turns[:2]] != ["system", "user"]:
        return turns
    system, first, *rest = turns
    if _blank(system) is not None:
        return (first, *rest)
    spans = (*system.content, Span(type="text", text="\n\n"), *first.content)
    return (Turn(role=first.role, content=spans), *rest)


def _joined(asked: Skeleton, whole: Skeleton, *, message: int) -> Skeleton:
    """Puts the answer and what the template writes behind it behind what is asked."""
    at, in_stream = _last_slot(whole.text), _last_slot(whole.stream)
    slot = whole.text[at]
    assert isinstance(slot, Slot)  # noqa: S101 - that is what was looked for
    slot = replace(slot, message=message)
    behind = whole.stream[in_stream + 1 :]
    return Skeleton(
        text=(*asked.text, slot, *whole.text[at + 1 :]),
        stream=(*asked.stream, slot, *behind),
        control_ids=(*asked.control_ids, *(part for part in behind if isinstance(part, int))),
    )


def _last_slot(parts: Sequence[int | str | Slot]) -> int:
    return max(place for place, part in enumerate(parts) if isinstance(part, Slot))


def _blank(turn: Turn) -> str | None:
    if any(span.text is None for span in turn.content):
        return None
    text = "".join(span.text or "" for span in turn.content)
    return None if text.strip() else text


def _is_trained_to_its_end(turn: Turn, conversation: Conversation) -> bool:
    last = turn is conversation.turns[-1]
    return (
        turn.role == "assistant"
        and bool(turn.content)
        and turn.content[-1].supervised
        and (conversation.is_complete or not last)
    )


def _stripped(spans: Sequence[Span], slot: Slot) -> list[Span]:
    """Returns spans without what the template strips at both ends; audio is never stripped."""
    kept = list(spans)
    if slot.left != "":
        kept = _stripped_left(kept, slot.left)
    if slot.right != "":
        kept = _stripped_right(kept, slot.right)
    return kept


def _stripped_left(spans: list[Span], characters: str | None) -> list[Span]:
    for place, span in enumerate(spans):
        if span.text is None:
            return spans[place:]
        if text := span.text.lstrip(characters):
            return [replace(span, text=text), *spans[place + 1 :]]
    return []


def _stripped_right(spans: list[Span], characters: str | None) -> list[Span]:
    for place in reversed(range(len(spans))):
        text = spans[place].text
        if text is None:
            return spans[: place + 1]
        if text := text.rstrip(characters):
            return [*spans[:place], replace(spans[place], text=text)]
    return []


def _trained(offsets: Sequence[_Range], ranges: Sequence[_Range]) -> list[bool]:
    """Tells of each token whether any of its characters is trained.

    A token without characters, such as a mark in front of a word, goes with what it stands at.
    """
    if len(ranges) == 1:  # nearly always, and twice as fast
        ((begin, end),) = ranges
        return [start < end and (stop > begin or start >= begin) for start, stop in offsets]
    return [
        any(start < end and (stop > begin or start >= begin) for begin, end in ranges)
        for start, stop in offsets
    ]
