"""The scripted engine: a function from request to text behind the same seam as a model.

For dry runs, and for tests that must know every answer. It has no tokenizer: lengths are
counted in words, so `max_tokens` cuts after so many words and `token_ids` stay empty.
Faults (a dead engine, a failing server) are not scripted here; tests cause real ones.
"""

import importlib
import re
import time
from collections.abc import Callable

from sllm_data.errors import EngineError
from sllm_data.generation.config import ScriptedConfig
from sllm_data.records import Rejection, Request, Response
from sllm_data.seeding import rng_for, uniform

Script = Callable[[Request], str]

_WORD = re.compile(r"\S+")
_FEWEST_WORDS, _MOST_WORDS = 3, 24


class ScriptedEngine:
    """Answers with what a function returns; see `generation.engine.Engine`."""

    name = "scripted"
    version = "1"
    prompt_mode = "messages"
    determinism = "exact"

    def __init__(self, config: ScriptedConfig) -> None:
        self._config = config
        self._script = load_script(config.function)
        self._waiting: list[Request] = []
        self.max_in_flight = config.max_in_flight

    def submit(self, request: Request) -> None:
        """Takes a request."""
        self._waiting.append(request)

    def receive(self) -> list[Response | Rejection]:
        """Answers all but the newest `hold` requests, and at least one.

        Raises:
            EngineError: The function fails or returns no text.
        """
        if self._config.latency_s:
            time.sleep(self._config.latency_s)
        ready = max(1, len(self._waiting) - self._config.hold)
        requests, self._waiting = self._waiting[:ready], self._waiting[ready:]
        if self._config.order == "reversed":
            requests.reverse()
        elif self._config.order == "shuffled":
            requests.sort(key=lambda request: uniform(request.seed, "order", request.request_id))
        return [self._answer(request) for request in requests]

    def close(self) -> None:
        """Forgets what is in flight."""
        self._waiting.clear()

    def _answer(self, request: Request) -> Response:
        try:
            text = self._script(request)
        except Exception as error:  # the function is the user's own
            raise EngineError(
                f"{request.request_id}: the scripted function {self._config.function} must "
                f"return a text, it raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(text, str):
            raise EngineError(
                f"{request.request_id}: the scripted function {self._config.function} must "
                f"return a text, got {type(text).__name__}"
            )
        text, finish_reason = _cut(text, request)
        return Response(
            request_id=request.request_id,
            text=text,
            token_ids=(),
            finish_reason=finish_reason,
            num_prompt_tokens=len(request.prompt_token_ids)
            or sum(len(message.content.split()) for message in request.messages),
            num_response_tokens=len(text.split()),
            num_cached_tokens=None,
            mean_logprob=None,
        )


def load_script(function: str) -> Script:
    """Finds a built-in script, or imports `module:name`.

    Raises:
        EngineError: There is no such function.
    """
    if function in _BUILT_IN:
        return _BUILT_IN[function]
    module, colon, name = function.partition(":")
    if not (module and colon and name):
        raise EngineError(
            f"backbone.function must be one of {', '.join(_BUILT_IN)} or module:name, "
            f"got {function!r}"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise EngineError(f"backbone.function {function!r} can't be imported: {error}") from error
    if not callable(found):
        raise EngineError(f"backbone.function {function!r} must be a function, got {found!r}")
    script: Script = found
    return script


def _cut(text: str, request: Request) -> tuple[str, str]:
    """Ends a text as an engine would: before a stop string, after max_tokens words."""
    for stop in request.sampling.stop:
        text = text.partition(stop)[0]
    words = list(_WORD.finditer(text))
    if len(words) <= request.sampling.max_tokens:
        return text, "stop"
    return text[: words[request.sampling.max_tokens - 1].end()], "length"


def _last_paragraph(request: Request) -> str:
    paragraphs = request.messages[-1].content.strip().split("\n\n")
    return paragraphs[-1].strip()


def _upper(request: Request) -> str:
    return _last_paragraph(request).upper()


def _drawn_words(request: Request) -> str:
    """A sentence of the prompt's own words: same seed and prompt, same sentence."""
    text = request.messages[-1].content
    words = text.split() or ["nothing"]
    rng = rng_for(request.seed, "scripted", text)
    count = rng.randint(_FEWEST_WORDS, _MOST_WORDS)
    return " ".join(rng.choice(words) for _ in range(count)).capitalize() + "."


_BUILT_IN: dict[str, Script] = {"echo": _last_paragraph, "upper": _upper, "task": _drawn_words}
