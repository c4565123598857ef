"""The OpenAI protocol as values: a request's JSON, and an answer's JSON checked and read.

No sockets here. What a server sends is untrusted: it is parsed into models, and anything
that is not an answer raises Malformed, which the client takes for a failed attempt.
"""

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sllm_data.errors import one_line
from sllm_data.generation.config import OpenaiConfig
from sllm_data.generation.likeliest import Places, from_server
from sllm_data.records import Reason, Rejection, Request, Response

Document = dict[str, Any]  # Any: JSON

_MAX_DETAIL = 300
_TOO_LONG = ("context length", "context_length", "maximum model length", "max_model_len")


class Malformed(ValueError):  # noqa: N818 - it is what the answer is
    """A server's answer is no answer to what was asked; str() says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a certain server is spoken to."""

    prompt_mode: Literal["ids", "messages"]
    returns_ids: bool
    """It tells the token ids of its answers when asked."""
    is_vllm: bool
    """It takes vLLM's further fields, and would fill them by the model's own taste."""

    @property
    def path(self) -> str:
        """Where requests go, below the base URL."""
        return "completions" if self.prompt_mode == "ids" else "chat/completions"


# what the tables have room for
_Count = Annotated[int, Field(ge=0, lt=2**31)]
_Logprob = Annotated[float, Field(ge=-1e9, le=1e9)]


class _Message(BaseModel):
    content: str | None = None


class _TokenLogprob(BaseModel):
    logprob: _Logprob


class _Logprobs(BaseModel):
    token_logprobs: list[_Logprob | None] | None = None
    top_logprobs: list[dict[str, _Logprob] | None] | None = None
    content: list[_TokenLogprob] | None = None


class _Choice(BaseModel):
    finish_reason: str
    text: str | None = None
    message: _Message | None = None
    token_ids: list[_Count] | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(BaseModel):
    cached_tokens: _Count | None = None


class _Usage(BaseModel):
    prompt_tokens: _Count
    completion_tokens: _Count = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    choices: list[_Choice]
    usage: _Usage


def payload(request: Request, dialect: Dialect, config: OpenaiConfig) -> Document:
    """Returns the body of a request, all sampling parameters explicit."""
    sampling = request.sampling
    body: Document = {
        "model": config.model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": request.seed,
        "n": 1,
        "stream": False,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if dialect.prompt_mode == "ids":
        body |= {"prompt": list(request.prompt_token_ids), "max_tokens": sampling.max_tokens}
        if config.logprobs or config.top_logprobs:
            body["logprobs"] = config.top_logprobs
        if config.top_logprobs:
            body["return_tokens_as_token_ids"] = True
    else:
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        body |= {"messages": turns, config.max_tokens_field: sampling.max_tokens}
        body |= {"logprobs": True, "top_logprobs": 0} if config.logprobs else {}
        if config.template_kwargs:
            body["chat_template_kwargs"] = config.template_kwargs
    if dialect.returns_ids:
        body["return_token_ids"] = True
    if sampling.top_k or dialect.is_vllm:
        body["top_k"] = sampling.top_k
    if dialect.is_vllm:
        body |= {"min_p": 0.0, "repetition_penalty": 1.0}
    return body


def num_prompt_tokens(document: Any) -> int:  # Any: JSON that a server sent
    """Returns how many prompt tokens a server counted.

    Raises:
        Malformed: It is no answer.
    """
    return _parsed(document).usage.prompt_tokens


def read_answer(
    request: Request,
    document: Any,  # Any: as above
    *,
    top_logprobs: int = 0,
) -> Response | Rejection:
    """Reads a server's answer to a request.

    Args:
        request: What was asked.
        document: What was sent.
        top_logprobs: How many of the likeliest tokens it was asked for.

    Raises:
        Malformed: It is no answer, or the server gave up on it half-way.
    """
    answer = _parsed(document)
    choice, usage = answer.choices[0], answer.usage
    text = choice.text
    if text is None:
        text = (choice.message.content if choice.message else None) or ""
    if choice.finish_reason in ("abort", "error"):
        raise Malformed(f"the server ended it with finish_reason {choice.finish_reason!r}")
    if choice.finish_reason not in ("stop", "length"):
        return refusal(
            request,
            f"finish_reason must be stop or length, the server sent {choice.finish_reason!r}",
        )
    cached = usage.prompt_tokens_details
    top = _likeliest(choice, top_logprobs) if top_logprobs else (None, None)
    return Response(
        request_id=request.request_id,
        text=text,
        token_ids=tuple(choice.token_ids or ()),
        finish_reason=choice.finish_reason,
        num_prompt_tokens=usage.prompt_tokens,
        num_response_tokens=usage.completion_tokens,
        num_cached_tokens=cached.cached_tokens if cached else None,
        mean_logprob=_mean_logprob(choice),
        top_token_ids=top[0],
        top_logprobs=top[1],
    )


def refusal(request: Request, detail: str) -> Rejection:
    """Returns the rejection of a request that a server would not answer."""
    too_long = any(phrase in detail.lower() for phrase in _TOO_LONG)
    return Rejection(
        row_id=request.request_id,
        audio_id=request.audio_id,
        step="generate",
        reason=Reason.PROMPT_TOO_LONG if too_long else Reason.REFUSED_BY_ENGINE,
        detail=bounded(detail),
    )


def error_detail(content: bytes) -> str:
    """Returns what a server says of a failure, as one bounded line."""
    text = content[:65_536].decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return bounded(text) or "without a word"
    error = document.get("error", document) if isinstance(document, dict) else document
    message = error.get("message", error) if isinstance(error, dict) else error
    said = bounded(message if isinstance(message, str) else json.dumps(message))
    return said or "without a word"


def bounded(text: str) -> str:
    """Returns a text as one printable line of at most 300 characters."""
    line = one_line(" ".join(text.split()), at_most=sys.maxsize)
    return line if len(line) <= _MAX_DETAIL else f"{line[: _MAX_DETAIL - 1]}…"


def _parsed(document: Any) -> _Answer:  # Any: JSON that a server sent
    try:
        answer = _Answer.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "it"
        raise Malformed(f"no answer of the OpenAI protocol: {at}: {first['msg']}") from error
    if not answer.choices:
        raise Malformed("no answer of the OpenAI protocol: choices is empty")
    return answer


def _likeliest(choice: _Choice, count: int) -> Places:
    if choice.token_ids is None:
        raise Malformed("it must tell the token ids of its answer, for backbone.top_logprobs")
    told = choice.logprobs.top_logprobs if choice.logprobs else None
    try:
        return from_server(told, count=count, num_tokens=len(choice.token_ids))
    except ValueError as error:
        raise Malformed(f"{error}, for backbone.top_logprobs") from error


def _mean_logprob(choice: _Choice) -> float | None:
    if choice.logprobs is None:
        return None
    values = [value for value in choice.logprobs.token_logprobs or () if value is not None]
    values += [token.logprob for token in choice.logprobs.content or ()]
    return sum(values) / len(values) if values else None
