"""What is wrong with pools that load: findings for their author, none of them an error.

Each rule is a function from a pool to findings. Rules about words know English and German;
for another language they are silent.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from rapidfuzz import fuzz

from sllm_data.errors import one_line
from sllm_data.prompting.pools import Instruction, Pool
from sllm_data.prompting.templates import template_from_string

MIN_WORDINGS = 4
NEAR_DUPLICATE_RATIO = 95.0
"""In percent; two wordings that are more alike than this count as one."""
KNOWN_VARIABLES = frozenset({"target_language", "question", "statement", "emotion"})
"""What a wording may use: the parameters that the tasks have."""
HEARD_VARIABLES = frozenset({"emotion"})
"""What the backbone must be told and the speech model must hear."""

_MAX_MESSAGE = 500
_END = tuple(".?!:;…。？！：।؟")  # noqa: RUF001 - full-width marks are meant
_WRITTEN = ("{{ question }}", "{{ statement }}")  # whole sentences, with marks of their own
_SIDES = ("text", "audio")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Words:
    """Patterns of one language that tell which side a wording is meant for."""

    audio: re.Pattern[str]
    """Fits audio alone."""
    either: re.Pattern[str]
    """Fits audio, and a text too: "what is said in this text"."""
    text: re.Pattern[str]
    """Fits a text alone, unless something above stands beside it: "the speech as text"."""
    position: re.Pattern[str]


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(patterns)})\b", re.IGNORECASE)


_WORDS = {
    "en": _Words(
        audio=_any_of(
            "speech", "spoken", "audio", r"record(ing|ings|ed)", "voices?", r"listen\w*"
        ),
        either=_any_of(r"speak\w*", "utterances?", r"sound\w*", r"hear\w*", "said", "say"),
        text=_any_of("texts?", "written"),
        position=_any_of("following", "below", "above"),
    ),
    "de": _Words(
        audio=_any_of(
            r"\w*aufnahmen?",
            r"audio\w*",
            r"gesprochen\w*",
            "gehörte[ns]?",
            "(an|zu)hören",
            "tonspur",
        ),
        # "gehört" is "heard" and "belongs", "spricht" is said of texts too.
        either=_any_of(
            r"gesagt\w*",
            "sagen",
            r"sprechende\w*",
            r"sprecher\w*",
            "hör(e|st|t|en)?",
            "gehört",
            "stimmen?",
            r"äußerung\w*",
        ),
        text=_any_of("text(e|es|en|s)?", r"geschrieben\w*", "lies", "lesen", "gelesen"),
        position=_any_of("folgende[nmrs]?", r"(unten|oben)stehend\w*", "obige[nmrs]?"),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing to mend."""

    path: Path
    instruction_id: str | None
    """None where it concerns the pool as a whole."""
    rule: str
    message: str
    """One printable line."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", one_line(self.message, at_most=_MAX_MESSAGE))


def lint_pools(pools: Iterable[Pool]) -> list[Finding]:
    """Returns what is wrong with the pools, by pool, then by rule."""
    return [finding for pool in pools for rule in _RULES for finding in rule(pool)]


def _few_wordings(pool: Pool) -> Iterator[Finding]:
    num = len(pool.instructions)
    if num < MIN_WORDINGS:
        yield _of_pool(
            pool, "few_wordings", f"must have at least {MIN_WORDINGS} wordings, has {num}"
        )


def _held_out(pool: Pool) -> Iterator[Finding]:
    num = sum(instruction.held_out for instruction in pool.instructions)
    if num == 0:
        yield _of_pool(
            pool, "none_held_out", "must hold out a wording, or unseen ones can't be tested"
        )
    elif num == len(pool.instructions):
        yield _of_pool(pool, "all_held_out", "must leave a wording to train on, all are held out")


def _foreign_id(pool: Pool) -> Iterator[Finding]:
    prefix = f"{pool.task}.{pool.language}.".casefold()
    for instruction in pool.instructions:
        if not instruction.id.startswith(prefix):
            yield _of(pool, instruction, "foreign_id", f"the id must begin with {prefix}")


def _duplicates(pool: Pool) -> Iterator[Finding]:
    for side in _SIDES:
        plain = [(each, _plain(_wording(each, side))) for each in pool.instructions]
        for (first, one), (second, other) in combinations(plain, 2):
            if one == other:
                message = f"the {side} side is that of {first.id}"
                yield _of(pool, second, "duplicate", message)
            elif fuzz.ratio(one, other, score_cutoff=NEAR_DUPLICATE_RATIO) > NEAR_DUPLICATE_RATIO:
                message = f"the {side} side is nearly that of {first.id}"
                yield _of(pool, second, "near_duplicate", message)


def _wrong_side(pool: Pool) -> Iterator[Finding]:
    words = _WORDS.get(pool.language.partition("-")[0].casefold())
    if words is None:
        return
    for instruction in pool.instructions:
        heard = words.audio.search(instruction.text)
        if heard:
            message = f"the text side must not speak of audio, says {heard.group()!r}"
            yield _of(pool, instruction, "wrong_side", message)
        read = words.text.search(instruction.audio)
        of_audio = (words.audio, words.either)
        if read and not any(pattern.search(instruction.audio) for pattern in of_audio):
            message = f"the audio side must speak of the audio, says only {read.group()!r}"
            yield _of(pool, instruction, "wrong_side", message)
        for side in _SIDES:
            placed = words.position.search(_wording(instruction, side))
            if placed:
                message = (
                    f"the {side} side must not say where the content stands "
                    f"({placed.group()!r}): a template may put it first"
                )
                yield _of(pool, instruction, "position", message)


def _variables(pool: Pool) -> Iterator[Finding]:
    for instruction in pool.instructions:
        text, audio = (
            template_from_string(instruction.id, _wording(instruction, side)).variables
            for side in _SIDES
        )
        for name in sorted((text | audio) - KNOWN_VARIABLES):
            message = f"variable {name} is unknown; there is: {', '.join(sorted(KNOWN_VARIABLES))}"
            yield _of(pool, instruction, "undefined_variable", message)
        for name in sorted(audio & HEARD_VARIABLES):
            message = f"variable {name} must be used on the text side only: audio tells it"
            yield _of(pool, instruction, "told_variable", message)
        for name in sorted((text ^ audio) & KNOWN_VARIABLES - HEARD_VARIABLES):
            message = f"variable {name} must be used on both sides"
            yield _of(pool, instruction, "one_sided_variable", message)


def _end(pool: Pool) -> Iterator[Finding]:
    for instruction in pool.instructions:
        for side in _SIDES:
            if not _wording(instruction, side).endswith((*_END, *_WRITTEN)):
                message = f"the {side} side must end in a punctuation mark"
                yield _of(pool, instruction, "end_punctuation", message)


_RULES: tuple[Callable[[Pool], Iterator[Finding]], ...] = (
    _few_wordings,
    _held_out,
    _foreign_id,
    _duplicates,
    _wrong_side,
    _variables,
    _end,
)


def _wording(instruction: Instruction, side: str) -> str:
    return instruction.text if side == "text" else instruction.audio


def _plain(wording: str) -> str:
    return " ".join(wording.casefold().split())


def _of(pool: Pool, instruction: Instruction, rule: str, message: str) -> Finding:
    return Finding(path=pool.path, instruction_id=instruction.id, rule=rule, message=message)


def _of_pool(pool: Pool, rule: str, message: str) -> Finding:
    return Finding(path=pool.path, instruction_id=None, rule=rule, message=message)
