r"""A chat template rendered once for a sequence of roles, with slots where contents go.

The template runs with sentinels as contents; what stands between them is the same for every
conversation with these roles. So no transcript ever meets the template, and rendering a row
is joining strings:

    roles      user                                   assistant (to come)
    rendered   <|im_start|>user\n {slot} <|im_end|>\n <|im_start|>assistant\n
    stream     7 "user\n" Slot 8 "\n" 7 "assistant\n"        (7, 8: ids of control tokens)

Contents of whitespace alone are part of the skeleton, since templates ask `if content`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sllm_data.records import Message

ControlSpan = tuple[int, int, int]
"""A control token in a text: its id, its start and its stop in characters."""

_SENTINEL = re.compile("\ue000([0-9]+)\ue001")
# What is left of a pad tells what was stripped: nothing, newlines, or all whitespace.
_LEFT_PAD, _LEFT_REMAINS = "\n ", {"\n ": "", " ": "\n", "": None}
_RIGHT_PAD, _RIGHT_REMAINS = " \n", {" \n": "", " ": "\n", "": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """Where a message's content goes, and which characters the template strips from it.

    The characters are as for `str.strip`: "" for none, None for all whitespace.
    """

    message: int
    """Its index in the conversation."""
    role: str
    left: str | None
    right: str | None

    def fill(self, contents: Sequence[str]) -> str:
        """Returns the content of this slot's message as the template would write it."""
        return contents[self.message].lstrip(self.left).rstrip(self.right)


@dataclass(frozen=True, kw_only=True, slots=True)
class Skeleton:
    """What all conversations with one sequence of roles share."""

    text: tuple[str | Slot, ...]
    """The whole rendering: template text and slots in turn."""
    stream: tuple[int | str | Slot, ...]
    """The same, cut at the control tokens, which stand as ids."""
    control_ids: tuple[int, ...]
    """The control tokens of the template, in their order."""

    def fill(self, contents: Sequence[str]) -> str:
        """Returns the rendering with these contents, one for each message."""
        return "".join([p if isinstance(p, str) else p.fill(contents) for p in self.text])


class UnusableTemplateError(Exception):
    """A chat template can't serve a conversation; its text is a clause: `changes ...`."""


def build_skeleton(
    conversation: Sequence[Message],
    *,
    render: Callable[[Sequence[Message]], str],
    control_spans: Callable[[str], list[ControlSpan]],
) -> Skeleton:
    """Renders the template for the conversation's roles and cuts the result.

    1. Render with bare sentinels; split at them.
    2. Render with whitespace left, then right of them, to see what the template strips.
    3. Cut the template's stretches at control tokens.

    Args:
        conversation: Its roles count; its contents only where they are all whitespace.
        render: The chat template, with generation prompt.
        control_spans: Finds the control tokens of a text, in order.

    Raises:
        UnusableTemplateError: The template fails, or a content vanishes or comes out changed.
    """
    rendered = render(_with_sentinels(conversation, "", ""))
    bare = _SENTINEL.split(rendered)
    shown = set(map(int, bare[1::2]))
    for index, message in enumerate(conversation):
        if message.content.strip() and index not in shown:
            raise UnusableTemplateError(f"leaves out the content of a {message.role} turn")
    left = _SENTINEL.split(render(_with_sentinels(conversation, _LEFT_PAD, "")))
    right = _SENTINEL.split(render(_with_sentinels(conversation, "", _RIGHT_PAD)))
    if not bare[1::2] == left[1::2] == right[1::2]:
        raise UnusableTemplateError("moves contents that have whitespace around them")
    text = _with_slots(conversation, bare, left, right)
    spans = control_spans(rendered)
    return Skeleton(
        text=text,
        stream=_cut(text, rendered, spans),
        control_ids=tuple(index for index, _, _ in spans),
    )


def _with_sentinels(
    conversation: Sequence[Message], left_pad: str, right_pad: str
) -> list[Message]:
    return [
        replace(message, content=f"{left_pad}\ue000{index}\ue001{right_pad}")
        if message.content.strip()
        else message
        for index, message in enumerate(conversation)
    ]


def _with_slots(
    conversation: Sequence[Message], bare: list[str], left: list[str], right: list[str]
) -> tuple[str | Slot, ...]:
    text: list[str | Slot] = [bare[0]]
    for position in range(1, len(bare), 2):
        before, after = bare[position - 1], bare[position + 1]
        left_remains = left[position - 1].removeprefix(before)
        right_remains = right[position + 1].removesuffix(after)
        if left_remains not in _LEFT_REMAINS or right_remains not in _RIGHT_REMAINS:
            raise UnusableTemplateError("changes the whitespace around contents")
        slot = Slot(
            message=int(bare[position]),
            role=conversation[int(bare[position])].role,
            left=_LEFT_REMAINS[left_remains],
            right=_RIGHT_REMAINS[right_remains],
        )
        text += [slot, after]
    return tuple(text)


def _cut(
    text: Sequence[str | Slot], rendered: str, spans: Sequence[ControlSpan]
) -> tuple[int | str | Slot, ...]:
    r"""Cuts template text at control tokens: "<|e|>\n" with a span (8, 0, 5) is 8, "\n"."""
    stream: list[int | str | Slot] = []
    slots = iter([part for part in text if isinstance(part, Slot)])

    def append_text(start: int, stop: int) -> None:
        while sentinel := _SENTINEL.search(rendered, start, stop):
            stream.extend((rendered[start : sentinel.start()], next(slots)))
            start = sentinel.end()
        stream.append(rendered[start:stop])

    position = 0
    for index, start, stop in spans:
        append_text(position, start)
        stream.append(index)
        position = stop
    append_text(position, len(rendered))
    return tuple(part for part in stream if part != "")
