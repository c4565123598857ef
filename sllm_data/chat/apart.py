"""Encoding a prompt in sections: control ids set by hand, the text between them sealed in.

Tokenizers cut a text at its control tokens before they do anything else, so the sections of
a prompt are encoded independently anyway; done here, they go to a copy of the tokenizer that
knows no control tokens. Sections without contents are encoded once for all rows, system
prompts once for each wording, which leaves about one short text per row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import Tokenizer

from sllm_data.chat.controls import Controls
from sllm_data.chat.skeleton import Skeleton, Slot

_MAX_SYSTEM_SECTIONS = 1024
_PIECE = str | Slot


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Text between control tokens that holds at least one content."""

    pieces: tuple[_PIECE, ...]
    opens: bool
    """It is the first thing in the prompt."""
    repeats: bool
    """Its contents are system prompts only, so that rows share it."""

    def fill(self, contents: Sequence[str]) -> str:
        """Returns the section's text with these contents."""
        return "".join([p if isinstance(p, str) else p.fill(contents) for p in self.pieces])


Plan = tuple[tuple[int, ...] | Section, ...]
"""What a prompt is made of: ids that never change, and sections to encode."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """What conversations with one sequence of roles share, ready to encode."""

    skeleton: Skeleton
    plan: Plan
    separable: bool
    """Sections apart give the ids of the whole."""


class ApartEncoder:
    """Encodes prompts section by section; no content can yield a control id."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._known = lru_cache(maxsize=_MAX_SYSTEM_SECTIONS)(self._encode_text)

    def plan(self, skeleton: Skeleton) -> Plan:
        """Groups a skeleton into fixed ids and sections, encoding what never changes."""
        plan: list[tuple[int, ...] | Section] = []
        pieces: list[_PIECE] = []
        at_start = True

        def append_fixed(ids: tuple[int, ...]) -> None:
            if plan and isinstance(plan[-1], tuple):
                plan[-1] += ids
            else:
                plan.append(ids)

        def close_section() -> None:
            slots = [piece for piece in pieces if isinstance(piece, Slot)]
            if slots:
                repeats = all(slot.role == "system" for slot in slots)
                plan.append(Section(pieces=tuple(pieces), opens=at_start, repeats=repeats))
            else:
                append_fixed(self._encode_text("".join(map(str, pieces)), opens=at_start))
            pieces.clear()

        for part in skeleton.stream:
            if isinstance(part, int):
                close_section()
                append_fixed((part,))
                at_start = False
            else:
                pieces.append(part)
        close_section()
        return tuple(plan)

    def encode(self, rows: Sequence[tuple[Plan, Sequence[str]]]) -> list[list[int]]:
        """Returns the ids of each row: a plan and its contents, one per message."""
        texts: dict[bool, list[str]] = {True: [], False: []}
        for plan, contents in rows:
            for part in plan:
                if isinstance(part, Section) and not part.repeats:
                    texts[part.opens].append(part.fill(contents))
        encoded = {
            opens: iter(
                self._tokenizer(opens=opens).encode_batch_fast(batch, add_special_tokens=False)
            )
            for opens, batch in texts.items()
        }
        prompts: list[list[int]] = []
        for plan, contents in rows:
            ids: list[int] = []
            for part in plan:
                if isinstance(part, tuple):
                    ids += part
                elif part.repeats:
                    ids += self._known(part.fill(contents), opens=part.opens)
                else:
                    ids += next(encoded[part.opens]).ids
            prompts.append(ids)
        return prompts

    def _tokenizer(self, *, opens: bool) -> Tokenizer:
        return self._controls.opening if opens else self._controls.inner

    def _encode_text(self, text: str, *, opens: bool) -> tuple[int, ...]:
        return tuple(self._tokenizer(opens=opens).encode(text, add_special_tokens=False).ids)
