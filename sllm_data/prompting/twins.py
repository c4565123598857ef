"""One request, twice: as the backbone reads it and as the speech model gets to hear it.

Both sides come from one template, so they can differ in two things only: the wording of the
instruction ("this text", "this recording") and the content, which is the transcript on one
side and the audio on the other. Chat templates and token ids are added later, by `chat`;
the spans of a training row by the assembly stage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sllm_data.errors import PoolError
from sllm_data.prompting.pools import Instruction
from sllm_data.prompting.templates import FIELDS, Template, template_from_string
from sllm_data.records import Message

_MARKER = "\ue000\uf8ff\ue000"
"""Stands for the content while a template is rendered: private-use characters, no text."""

_Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Twin:
    """The two sides of one request."""

    text_messages: tuple[Message, ...]
    """What the backbone sees: the system turn where there is one, then the user turn."""
    audio_turn: tuple[str, str]
    """What stands before and after the audio in the user turn of the speech model."""


def render_twin(
    *,
    template: Template,
    instruction: Instruction,
    transcript: str,
    fields: Mapping[str, str],
    system: str | None,
) -> Twin:
    """Renders both sides of a request.

    Args:
        template: Must print {{ content }} exactly once, as it is, and {{ instruction }}.
        instruction: Its two wordings may use `fields`.
        transcript: As the backbone is shown it. It is data: Jinja2 in it is plain text.
        fields: Further variables, such as target_language.
        system: The system turn, as it is; None or empty for none.

    Raises:
        PoolError: The template does not have content exactly once or lacks the instruction,
            or a variable has no field.
    """
    text_turn, audio_turn = _turns(template, instruction, tuple(sorted(fields.items())))
    user = Message(role="user", content=transcript.join(text_turn))
    turns = (Message(role="system", content=system), user) if system else (user,)
    return Twin(text_messages=turns, audio_turn=audio_turn)


@lru_cache(maxsize=4_096)
def _turns(
    template: Template, instruction: Instruction, given: _Fields
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Returns what stands before and after the content, on the text and the audio side.

    No transcript can change it: content is printed as it is, and no condition sees it. So a
    transcript never passes through Jinja2, and thousands of requests share one rendering.
    """
    fields = dict(given)
    reserved = sorted(FIELDS["task"] & fields.keys())
    if reserved:
        raise PoolError(f"{reserved[0]} is a field of every prompt and can't be set")
    if "instruction" not in template.variables:
        raise PoolError(f"template {template.id}: must use {{{{ instruction }}}}")
    if "content" not in template.verbatim:
        raise PoolError(
            f"template {template.id}: must use {{{{ content }}}} exactly once, "
            "without a filter and outside of conditions"
        )
    return (
        _around(template, instruction, instruction.text, fields),
        _around(template, instruction, instruction.audio, fields),
    )


def _around(
    template: Template, instruction: Instruction, side: str, fields: Mapping[str, str]
) -> tuple[str, str]:
    wording = template_from_string(instruction.id, side).render(**fields)
    turn = template.render(**fields, instruction=wording, content=_MARKER)
    pieces = turn.split(_MARKER)
    if len(pieces) != 2:  # noqa: PLR2004 - before and after
        raise PoolError(
            f"template {template.id}: must use {{{{ content }}}} exactly once, "
            f"found {len(pieces) - 1} times with instruction {instruction.id}"
        )
    return pieces[0], pieces[1]
