"""A chat template bound to its tokenizer and arguments: messages in, text or ids out.

transformers renders; this module chooses the template's text (the model's own, a file, or the
shipped fallback for base models) and turns every way in which one fails into a clause.
"""

import inspect
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from sllm_data.chat.skeleton import UnusableTemplateError
from sllm_data.errors import ModelError
from sllm_data.files import sha256_of_text, shipped_folder
from sllm_data.records import Message

_MAX_DEPTH, _MAX_FILTERS = 100, 12  # those in use have 20 levels, and 3 filters in a row
_FALLBACK = "fallback_chat.j2"
# Templates are programs: these are what Jinja2's evaluation lets through.
_FAILURES = (
    *(TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError),
    *(SyntaxError, NameError, RuntimeError),  # `break` outside of a loop, 1e400, endless macros
)


class ChatTemplate:
    """The template in use.

    Attributes:
        sha256: Of the template's text and its arguments.
        is_fallback: The model has no template of its own.
    """

    def __init__(
        self,
        tokenizer: Any,  # a transformers class without types
        *,
        model: str,
        arguments: Mapping[str, Any],  # whatever a template may read, checked to be JSON
        file: Path | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._arguments = _checked_arguments(tokenizer, arguments, model=model)
        source = _source(tokenizer, file, model=model)
        self.is_fallback = source is None
        self._source = _fallback_source(tokenizer) if source is None else source
        canonical = json.dumps(
            self._arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        self.sha256 = sha256_of_text(f"{self._source}\x1f{canonical}")

    def render(self, messages: Sequence[Message], *, generation_prompt: bool = True) -> str:
        """Returns the text of a conversation, by default with generation prompt.

        Raises:
            UnusableTemplateError: The template fails, writes what is no text, or depends on
                today's date.
        """
        text: str = self._apply(messages, generation_prompt=generation_prompt, tokenize=False)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UnusableTemplateError("writes half a surrogate pair") from error
        return text

    def encode(self, messages: Sequence[Message], *, generation_prompt: bool = True) -> list[int]:
        """Returns the ids as transformers gives them: the reference, slow and unguarded.

        Raises:
            UnusableTemplateError: As for `render`.
        """
        ids: list[int] = self._apply(messages, generation_prompt=generation_prompt, tokenize=True)
        return ids

    def _apply(
        self,
        messages: Sequence[Message],
        *,
        generation_prompt: bool,
        tokenize: bool,
    ) -> Any:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        _check_nesting(self._source)
        try:
            return self._tokenizer.apply_chat_template(
                turns,
                chat_template=self._source,
                add_generation_prompt=generation_prompt,
                tokenize=tokenize,
                return_dict=False,
                **{**self._arguments, "strftime_now": _refuse_date},
            )
        except _FAILURES as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UnusableTemplateError(f"fails ({reason})") from error


class _Generation(Extension):
    """The tag by which transformers marks what the model says."""

    tags = {"generation"}  # noqa: RUF012 - Jinja2's own way

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Reads the tag's body, up to its end."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=64)
def _check_nesting(source: str) -> None:
    """Refuses what would compile for minutes, or fill the memory while it does.

    Jinja2 folds constants as it compiles: a quotation mark that goes through `tojson` again and
    again doubles each time, and a long row of signs is looked at again for each of them.

    Raises:
        UnusableTemplateError: The template is nested too deeply, or is no Jinja2.
    """
    environment = Environment(extensions=["jinja2.ext.loopcontrols", _Generation])  # noqa: S701
    try:
        tree = environment.parse(source)
    except (RecursionError, *_FAILURES) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UnusableTemplateError(f"fails ({reason})") from error
    level: list[tuple[nodes.Node, int]] = [(tree, 0)]
    for _ in range(_MAX_DEPTH):
        level = [
            (child, filters + isinstance(child, nodes.Filter))
            for node, filters in level
            for child in node.iter_child_nodes()
        ]
        if any(filters > _MAX_FILTERS for _, filters in level):
            raise UnusableTemplateError(
                f"puts a value through more than {_MAX_FILTERS} filters in a row"
            )
    if level:
        raise UnusableTemplateError(f"is nested more than {_MAX_DEPTH} levels deep")


def _refuse_date(_format: str) -> NoReturn:
    # A prompt that changes overnight can't be resumed, reused or replayed.
    raise UnusableTemplateError(
        "writes today's date, so prompts would change from day to day (set its own date in "
        "template_kwargs, such as date_string, or give a chat_template file without it)"
    )


def _source(tokenizer: Any, file: Path | None, *, model: str) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(
                f"{model}: the chat template {file} must be a readable UTF-8 file ({error})"
            ) from error
    if not tokenizer.chat_template:
        return None
    try:
        source: str = tokenizer.get_chat_template()
    except ValueError as error:
        raise ModelError(
            f"{model}: has several chat templates and none of them is the default; copy one "
            "into a file and name it as chat_template"
        ) from error
    return source


def _fallback_source(tokenizer: Any) -> str:
    source = (shipped_folder("prompts") / _FALLBACK).read_text(encoding="utf-8")
    # Chat templates are encoded without the tokenizer's own additions, but a base model that
    # was trained behind a beginning-of-text token needs it.
    with_additions = tokenizer("a", add_special_tokens=True)["input_ids"]
    opens = tokenizer.bos_token_id is not None and with_additions[0] == tokenizer.bos_token_id
    return "{{ bos_token }}" + source if opens else source


def _checked_arguments(
    tokenizer: Any, arguments: Mapping[str, Any], *, model: str
) -> dict[str, Any]:
    reserved = {"messages", "strftime_now"}
    reserved |= inspect.signature(tokenizer.apply_chat_template).parameters.keys()
    for name in arguments:
        if name in reserved:
            raise ModelError(
                f"{model}: template_kwargs must hold only arguments of the chat template, got "
                f"{name!r}, which rendering itself sets; remove it"
            )
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(arguments), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{model}: template_kwargs must be plain JSON values ({error})"
        ) from error
    return copy
