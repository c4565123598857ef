"""From an utterance and a task to a request: wording, prompt, token ids, seed, key.

Nothing here knows of parts or files: `plan` feeds it rows and writes what comes out.
"""

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from sllm_data.chat import ChatRenderer
from sllm_data.config import RunConfig
from sllm_data.errors import PoolError
from sllm_data.prompting.languages import language_name
from sllm_data.prompting.pools import Instruction, Pool, Pools
from sllm_data.prompting.sandbox import MAX_OUTPUT_CHARS
from sllm_data.prompting.templates import Template, template_from_string
from sllm_data.prompting.twins import Twin, render_twin
from sllm_data.records import Message, Reason, Rejection, Request, Sampling
from sllm_data.records.request import WRITTEN_PARAMS
from sllm_data.sampling import TaskConfig, base_language, draw_params, pick, pick_weighted
from sllm_data.seeding import hash128, seed_for
from sllm_data.steps.rows import canonical, sampling_document

_NO_TOKENS: tuple[int, ...] = ()
_BYTES_PER_TOKEN = 16
_WORDING_PARAMS = (*sorted(WRITTEN_PARAMS), "emotion")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """An utterance with the tasks that it is to be asked."""

    audio_id: str
    audio_part: int
    language: str
    prepared: str
    """The transcript as the backbone is shown it."""
    split: str
    tasks: tuple[str, ...]
    emotion: str | None = None
    """Of the speaker, where the corpus knows it."""
    written: Mapping[str, str] = field(default_factory=dict)
    """By task: the question or statement that its wording asks about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """What requests need to know of the model that will answer them."""

    model: str
    """Its name without this machine's folders."""
    revision: str
    numeric_mode: str
    """What the engine computes with: dtype, quantisation, determinism, prompt mode."""
    renderer: ChatRenderer | None
    """None where the engine takes messages and there is no tokenizer to render with."""


class Planner:
    """Makes the requests of one configuration."""

    def __init__(
        self, config: RunConfig, pools: Pools, templates: dict[str, Template], backbone: Backbone
    ) -> None:
        self.config = config
        self._pools = pools
        self.templates = templates
        self.backbone = backbone
        self._stop = backbone.renderer.stop if backbone.renderer else ()

    def requests(self, asked: Iterable[Asked]) -> tuple[list[Request], list[Rejection]]:
        """Returns the requests of the utterances, in their order, and what is too long."""
        drafts = [self._draft(row, task) for row in asked for task in row.tasks]
        return self.finish(drafts)

    def finish(self, drafts: Sequence[Request]) -> tuple[list[Request], list[Rejection]]:
        """Tokenises drafts, drops those that are too long and gives the rest their keys."""
        generated = [i for i, draft in enumerate(drafts) if draft.target == "generated"]
        ids: dict[int, list[int]] = {}
        if self.backbone.renderer is not None:
            encoded = self.backbone.renderer.encode([drafts[i].messages for i in generated])
            ids = dict(zip(generated, encoded, strict=True))
        kept: list[Request] = []
        rejected: list[Rejection] = []
        longest = self.config.prompts.max_prompt_tokens
        for i, draft in enumerate(drafts):
            tokens = ids.get(i, _NO_TOKENS)
            if len(tokens) > longest:
                rejected.append(_too_long(draft, len(tokens), longest))
                continue
            kept.append(
                replace(
                    draft,
                    prompt_token_ids=tuple(tokens),
                    request_key=self._key(draft, tokens) if draft.target == "generated" else "",
                )
            )
        return kept, rejected

    def sampling(self, *, max_tokens: int, temperature: float | None = None) -> Sampling:
        """The backbone's sampling parameters with a task's own bounds."""
        backbone = self.config.backbone
        return Sampling(
            temperature=backbone.temperature if temperature is None else temperature,
            top_p=backbone.top_p,
            top_k=backbone.top_k,
            max_tokens=max_tokens,
            stop=self._stop,
        )

    def model_columns(self) -> dict[str, str]:
        """The columns of requests/ that are the same for every row."""
        renderer = self.backbone.renderer
        return {
            "model": self.backbone.model,
            "revision": self.backbone.revision,
            "chat_template_sha256": renderer.chat_template_sha256 if renderer else "",
        }

    def instruction_of(self, request: Request) -> tuple[Instruction, Pool]:
        """The wording of a request, and its pool.

        Raises:
            PoolError: The pool does not have it any more.
        """
        pool = self._pools.get(request.task, request.instruction_language)
        for instruction in pool.instructions:
            if instruction.id == request.instruction_id:
                return instruction, pool
        raise PoolError(f"{pool.path}: must hold the wording {request.instruction_id}")

    def wording(self, request: Request) -> str:
        """The text-side wording of a request, as the backbone read it."""
        instruction, _ = self.instruction_of(request)
        fields = wording_fields(json.loads(request.task_params), instruction)
        return template_from_string(instruction.id, instruction.text).render(**fields)

    def twin_of(self, request: Request) -> Twin:
        """Both sides of a request again, for the stage that makes samples of it."""
        instruction, _ = self.instruction_of(request)
        return render_twin(
            template=self.templates[request.variant],
            instruction=instruction,
            transcript=request.transcript_prepared,
            fields=wording_fields(json.loads(request.task_params), instruction),
            system=self.config.backbone.system,
        )

    def with_system(self, user: str) -> tuple[Message, ...]:
        """A conversation of the configured system turn, if any, and one user turn."""
        system = self.config.backbone.system
        turn = Message(role="user", content=user)
        return (Message(role="system", content=system), turn) if system else (turn,)

    def finds_role_marker(self, request: Request) -> bool | None:
        """Whether the transcript may pass for a turn of its own (`USER:`).

        None where no text can: control tokens begin the turns, or no template is known here.
        """
        renderer = self.backbone.renderer
        if renderer is None or not renderer.role_markers:
            return None
        return renderer.flags_role_markers(request.transcript_prepared)

    def _draft(self, row: Asked, name: str) -> Request:
        config, task = self.config, self.config.tasks[name]
        instruction = self.instruction_for(row, name)
        drawn = self.params_for(row, name)
        # what the backbone wrote may differ from run to run: it is no part of the row's identity
        written = {} if task.question == "none" else {task.question: row.written[name]}
        params = drawn | written
        variant = pick_weighted(
            config.prompts.templates,
            seed=config.seed,
            stage="template",
            identity=(row.audio_id, name),
        )
        twin = render_twin(
            template=self.templates[variant],
            instruction=instruction,
            transcript=row.prepared,
            fields=wording_fields(params, instruction),
            system=config.backbone.system,
        )
        sample_id = hash128(
            row.audio_id,
            config.recipe_name,
            config.kind,
            name,
            canonical(drawn),
            instruction.id,
            variant,
            0,
        )
        return Request(
            request_id=f"{sample_id}:main",
            sample_id=sample_id,
            audio_part=row.audio_part,
            audio_id=row.audio_id,
            task=name,
            task_params=canonical(params),
            variant=variant,
            draw_index=0,
            instruction_id=instruction.id,
            instruction_language=instruction.language,
            template_id=self.templates[variant].id,
            split=row.split,
            eval_group=_eval_group(task, instruction),
            transcript_prepared=row.prepared,
            target=task.target,
            messages=twin.text_messages,
            prompt_token_ids=_NO_TOKENS,
            sampling=self.sampling(max_tokens=task.max_tokens, temperature=task.temperature),
            seed=seed_for(config.seed, "request", sample_id),
            request_key="",
        )

    def params_for(self, row: Asked, name: str) -> dict[str, str]:
        """The parameters that are drawn for an utterance and a task."""
        return draw_params(
            self.config.tasks[name],
            seed=self.config.seed,
            audio_id=row.audio_id,
            name=name,
            language=row.language,
            emotion=row.emotion,
        )

    def instruction_for(self, row: Asked, name: str) -> Instruction:
        """The wording in which an utterance is asked a task.

        Raises:
            PoolError: There is no pool in the language that is drawn, or all of it is held out.
        """
        identity = (row.audio_id, name)
        language = pick_weighted(
            self.config.prompts.instruction_languages,
            seed=self.config.seed,
            stage="instruction_language",
            identity=identity,
        )
        if language == "utterance":
            own = base_language(row.language)
            language = own if own in self._pools.languages(name) else "en"
        pool = self._pools.get(name, language)
        wordings = [i for i in pool.instructions if row.split != "train" or not i.held_out]
        if not wordings:
            raise PoolError(f"{pool.path}: at least one wording must not be held out")
        return pick(wordings, seed=self.config.seed, stage="instruction", identity=identity)

    def _key(self, draft: Request, tokens: Sequence[int]) -> str:
        digest = blake2b(digest_size=16)
        if tokens:
            digest.update(array("i", tokens).tobytes())
        else:
            for message in draft.messages:
                digest.update(f"\x1e{message.role}\x1f{message.content}".encode())
        rest = (
            canonical(sampling_document(draft.sampling)),
            draft.seed,
            self.backbone.model,
            self.backbone.revision,
            self.backbone.renderer.chat_template_sha256 if self.backbone.renderer else "",
            self.backbone.numeric_mode,
        )
        digest.update("\x1f".join(map(str, rest)).encode())
        return digest.hexdigest()


def wording_fields(params: dict[str, str], instruction: Instruction) -> dict[str, str]:
    """Returns what a wording may use.

    That is the target language's name in the wording's language, what the backbone wrote, and
    the emotion as the corpus words it.
    """
    fields = {name: params[name] for name in _WORDING_PARAMS if name in params}
    if "to" in params:
        fields["target_language"] = language_name(params["to"], instruction.language)
    return fields


def _eval_group(task: TaskConfig, instruction: Instruction) -> str:
    if task.held_out:
        return "held_out_task"
    return "held_out_instruction" if instruction.held_out else "train"


def longest_transcript(max_prompt_tokens: int) -> int:
    """Bytes of the longest transcript that is looked at: no prompt can hold a longer one.

    No text has 16 bytes a token on average. The bound holds without a tokenizer, too, and
    keeps what a template renders within its own.

    >>> longest_transcript(1024)
    16384
    """
    return min(_BYTES_PER_TOKEN * max_prompt_tokens, MAX_OUTPUT_CHARS // 2)


def _too_long(draft: Request, num_tokens: int, longest: int) -> Rejection:
    return Rejection(
        row_id=draft.request_id,
        audio_id=draft.audio_id,
        step="plan",
        reason=Reason.PROMPT_TOO_LONG,
        detail=f"the prompt must have at most {longest} tokens, has {num_tokens}",
    )
