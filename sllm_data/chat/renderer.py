"""The renderer: conversations in, token ids out, and no way for a content to steer the model.

Two ways lead to the ids:

1. Apart: the sections between the template's control tokens, each encoded by a tokenizer
   that knows no control token (`apart`). Taken if it agreed with `apply_chat_template` on a
   set of probes for these roles, which it does for all but a few odd tokenizers.
2. Joined, for those: encode the whole text, as `apply_chat_template` does. Accepted if no
   content names a control token and the control ids that come out are the template's own;
   other rows go apart.

Not here: plain-text role markers can't be neutralised; they are flagged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sllm_data.chat.apart import ApartEncoder, Plan, Prompt
from sllm_data.chat.controls import controls_of
from sllm_data.chat.loading import load_tokenizer, locate
from sllm_data.chat.markers import marker_pattern, role_markers
from sllm_data.chat.skeleton import (
    ControlSpan,
    Skeleton,
    UnusableTemplateError,
    build_skeleton,
)
from sllm_data.chat.template import ChatTemplate
from sllm_data.chat.turns import Conversation, EncodedTurns, Key, TurnEncoder, fold_system
from sllm_data.errors import ModelError
from sllm_data.records import Message

_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})
_MAX_PROMPTS = 256
_PROBES = (
    "hello",
    "Well, it's 7 o'clock -- isn't it?! (yes; \"no\" & 50% <maybe>)",
    "  two  spaces\n\nand\tlines  ",
    "Größe, naïve, łódź, Ελλάδα, мир",
    "今天天气很好。これはテストです",
    "٣٤٥ 1,234.50 2nd",
    "👍🏽 👩‍👩‍👧 café e\u0301",
    r'{"a": [1, "\\n"]} {{ x }} {% y %}',
)
_SYSTEM, _USER, _ASSISTANT = (
    Message(role=role, content=role) for role in ("system", "user", "assistant")
)


class ChatRenderer:
    """One model's chat template and tokenizer.

    Not safe to share between threads; a process that is handed one gets its own.

    Attributes:
        control_strings: The control tokens as text; an answer that holds one has leaked it.
        revision: Commit hash of a hub model, or `local-<digest>` of a folder.
        chat_template_sha256: Of the template's text and its arguments.
        is_fallback: The model has no chat template; the shipped one stands in.
        supports_system: Whether the template has a system turn. Where it has none, a leading
            system turn becomes the first paragraph of the first user turn.
        role_markers: Role markers that are plain text and can therefore be spoken.
        stop: Strings that end an answer where no control token does (the fallback).
        stop_ids: Tokens that end the answer of a model that was trained on `encode_turns`.
    """

    def __init__(
        self, tokenizer: Any, template: ChatTemplate, *, model: str, revision: str
    ) -> None:
        self._model = model
        self._template = template
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._controls = controls_of(self._backend)
        self._apart = ApartEncoder(self._controls)
        self._prompt = lru_cache(maxsize=_MAX_PROMPTS)(self._build_prompt)
        self._turns = TurnEncoder(
            self._controls, self._apart, self._prompt, end_id=tokenizer.eos_token_id
        )
        self.control_strings = self._controls.texts
        self.revision = revision
        self.chat_template_sha256 = template.sha256
        self.is_fallback = template.is_fallback
        self.supports_system = self._finds_system_turn()
        self.role_markers = self._find_markers()
        self._marker_pattern = marker_pattern(self.role_markers)
        user_marker = next((m for m in self.role_markers if m.casefold() == "user:"), None)
        self.stop: tuple[str, ...] = (
            (f"\n{user_marker}",) if self.is_fallback and user_marker else ()
        )
        self.stop_ids = self._turns.stop_ids

    @property
    def tokenizer_module(self) -> str:
        """What a process must import to be handed a renderer, which takes seconds."""
        return type(self._tokenizer).__module__

    def __reduce__(self) -> tuple[Any, ...]:  # Any: as pickle wants it
        make = partial(ChatRenderer, model=self._model, revision=self.revision)
        return make, (self._tokenizer, self._template)

    @classmethod
    def load(
        cls,
        model: str,
        *,
        revision: str | None = None,
        template_kwargs: Mapping[str, Any] = _NO_ARGUMENTS,
        chat_template: Path | None = None,
    ) -> "ChatRenderer":
        """Loads a model's tokenizer and chat template; takes seconds.

        Args:
            model: A model folder or a hub id.
            revision: Branch, tag or commit of a hub id; the default branch where None.
            template_kwargs: What the template reads besides messages: `enable_thinking`.
            chat_template: A file to use in place of the model's own template.

        Raises:
            ModelError: The model can't be found, has no usable tokenizer, or its template
                fails, edits contents, or writes today's date.
        """
        folder, resolved = locate(model, revision=revision)
        tokenizer = load_tokenizer(folder, model=model)
        template = ChatTemplate(
            tokenizer, model=model, arguments=template_kwargs, file=chat_template
        )
        return cls(tokenizer, template, model=model, revision=resolved)

    def encode(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        """Returns the prompt token ids of each conversation, generation prompt included.

        For contents that name no control token these are the ids of transformers'
        `apply_chat_template`; for others the control ids are the template's own all the same.

        Raises:
            ModelError: The template refuses a sequence of roles.
        """
        placed = [self._place(conversation) for conversation in conversations]
        rows = self._encode_joined(placed)
        rest = [index for index in range(len(placed)) if index not in rows]
        apart = self._apart.encode(
            [(prompt.plan, contents) for prompt, contents in map(placed.__getitem__, rest)]
        )
        for index, ids in zip(rest, apart, strict=True):
            prompt, contents = placed[index]
            if self._controls.sequence(ids) != prompt.skeleton.control_ids:
                raise ModelError(
                    f"{self._model}: its tokenizer yields control tokens for plain text such "
                    f"as {contents[-1][:80]!r}; choose another model"
                )
            rows[index] = ids
        return [rows[index] for index in range(len(placed))]

    def encode_turns(
        self, conversations: Sequence[Conversation], *, generation_prompt: bool = False
    ) -> list[EncodedTurns]:
        """Encodes conversations of text and audio, and tells which tokens are labels.

        Args:
            conversations: Turns of spans; see `turns`.
            generation_prompt: Ask for the next answer; for conversations that end with a user.

        Raises:
            ModelError: The template refuses a sequence of roles, or no token can end an answer.
        """
        if not self.supports_system:
            conversations = [replace(c, turns=fold_system(c.turns)) for c in conversations]
        return self._turns.encode(conversations, generation_prompt=generation_prompt)

    def render(self, conversation: Sequence[Message]) -> str:
        """Returns the prompt as text, for people: text alone can't tell control from content.

        Raises:
            ModelError: As for `encode`.
        """
        prompt, contents = self._place(conversation)
        return prompt.skeleton.fill(contents)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Returns the text of the ids, control tokens included."""
        text: str = self._backend.decode(list(token_ids), skip_special_tokens=False)
        return text

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Returns how many tokens each text is as content, without any control token."""
        encodings = self._controls.opening.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def flags_role_markers(self, text: str) -> bool:
        """Whether a content holds what the template would read as a role marker.

        Always False for templates whose turns begin and end with control tokens.
        """
        return self._marker_pattern is not None and bool(self._marker_pattern.search(text))

    def _place(self, conversation: Sequence[Message]) -> tuple[Prompt, list[str]]:
        turns = conversation if self.supports_system else _fold_system(conversation)
        key = tuple((turn.role, None if turn.content.strip() else turn.content) for turn in turns)
        return self._prompt(key, generation_prompt=True), [turn.content for turn in turns]

    def _build_prompt(self, key: Key, *, generation_prompt: bool) -> Prompt:
        turns = [
            Message(role=role, content="content" if blank is None else blank)
            for role, blank in key
        ]
        try:
            skeleton = build_skeleton(
                turns,
                render=partial(self._template.render, generation_prompt=generation_prompt),
                control_spans=self._control_spans,
            )
            plan = self._apart.plan(skeleton)
            separable = self._check(skeleton, plan, turns, generation_prompt=generation_prompt)
        except UnusableTemplateError as error:
            roles = ", ".join(turn.role for turn in turns)
            raise ModelError(
                f"{self._model}: its chat template {error} in a conversation of {roles}; "
                "choose another model or give a chat_template file that serves"
            ) from error
        return Prompt(skeleton=skeleton, plan=plan, separable=separable)

    def _check(
        self,
        skeleton: Skeleton,
        plan: Plan,
        turns: Sequence[Message],
        *,
        generation_prompt: bool,
    ) -> bool:
        """Compares with the template on contents of many kinds; returns `separable`.

        Raises:
            UnusableTemplateError: The template edits contents.
        """
        separable = True
        for shift in range(len(_PROBES)):
            contents = [
                _PROBES[(shift + index) % len(_PROBES)] if turn.content.strip() else turn.content
                for index, turn in enumerate(turns)
            ]
            probe = [
                Message(role=turn.role, content=content)
                for turn, content in zip(turns, contents, strict=True)
            ]
            text = skeleton.fill(contents)
            ids = self._backend.encode(text, add_special_tokens=False).ids
            rendered = self._template.render(probe, generation_prompt=generation_prompt)
            expected = self._template.encode(probe, generation_prompt=generation_prompt)
            if text != rendered or ids != expected:
                raise UnusableTemplateError(f"edits contents such as {contents!r}")
            separable = separable and self._apart.encode([(plan, contents)]) == [ids]
        return separable

    def _control_spans(self, text: str) -> list[ControlSpan]:
        encoding = self._backend.encode(text, add_special_tokens=False)
        return [
            (index, start, stop)
            for index, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True)
            if index in self._controls.ids
        ]

    def _encode_joined(
        self, placed: Sequence[tuple[Prompt, Sequence[str]]]
    ) -> dict[int, list[int]]:
        """Encodes the rows that are not separable; leaves out those that must go apart."""
        whole = [
            (index, prompt.skeleton, contents)
            for index, (prompt, contents) in enumerate(placed)
            if not prompt.separable and not self._controls.named_in(contents)
        ]
        encodings = self._backend.encode_batch_fast(
            [skeleton.fill(contents) for _, skeleton, contents in whole],
            add_special_tokens=False,
        )
        return {
            index: encoding.ids
            for (index, skeleton, _), encoding in zip(whole, encodings, strict=True)
            if self._controls.sequence(encoding.ids) == skeleton.control_ids
        }

    def _finds_system_turn(self) -> bool:
        self.supports_system = True
        try:
            self._place([_SYSTEM, _USER])
        except ModelError:
            self._place([_USER])
            return False
        return True

    def _find_markers(self) -> tuple[str, ...]:
        try:
            prompt, _ = self._place([_SYSTEM, _USER, _ASSISTANT, _USER])
        except ModelError:  # a template for single turns
            prompt, _ = self._place([_SYSTEM, _USER])
        return role_markers(prompt.skeleton)


def _fold_system(conversation: Sequence[Message]) -> Sequence[Message]:
    """Moves a leading system turn into the user turn after it, as its first paragraph."""
    if [turn.role for turn in conversation[:2]] != ["system", "user"]:
        return conversation
    system, first, *rest = conversation
    if not system.content.strip():
        return [first, *rest]
    return [Message(role=first.role, content=f"{system.content}\n\n{first.content}"), *rest]
