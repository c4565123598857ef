"""The seam between requests and whatever answers them.

    submit(request) ──> engine ──> receive() -> [response or rejection, ...]   any order

The caller keeps at most `max_in_flight` requests submitted and not yet received. Each one
comes back exactly once. Nothing here knows of parts.
"""

from typing import Protocol

from sllm_data.generation.config import OpenaiConfig, ScriptedConfig, VllmConfig
from sllm_data.generation.openai_engine import OpenaiEngine
from sllm_data.generation.scripted_engine import ScriptedEngine
from sllm_data.generation.vllm_engine import VllmEngine
from sllm_data.records import Rejection, Request, Response


class Engine(Protocol):
    """What answers requests; `contextlib.closing` ends it cleanly."""

    @property
    def name(self) -> str:
        """vllm, openai or scripted."""
        ...

    @property
    def version(self) -> str:
        """Of vLLM or of the server; `unknown` where it does not tell."""
        ...

    @property
    def prompt_mode(self) -> str:
        """ids: token ids are sent; messages: the engine renders the messages."""
        ...

    @property
    def determinism(self) -> str:
        """exact, strict or seeded: how far the same request gives the same answer."""
        ...

    @property
    def max_in_flight(self) -> int:
        """How many requests keep it busy; the caller submits no more."""
        ...

    def submit(self, request: Request, /) -> None:
        """Takes a request; does not wait for its answer.

        Raises:
            EngineError: The engine is dead.
        """
        ...

    def receive(self) -> list[Response | Rejection]:
        """Waits for at least one answer and returns all that are ready, in any order.

        An empty list means that there is none yet: after about a second, or at once where
        nothing is in flight.

        Raises:
            EngineError: The engine died, or gave up on its server. What was in flight is
                lost; asking again gives it anew.
        """
        ...

    def close(self) -> None:
        """Ends the engine, its processes and connections; a second call does nothing."""
        ...


def start_engine(
    config: VllmConfig | OpenaiConfig | ScriptedConfig, *, verbose: bool = False
) -> Engine:
    """Starts the engine that a backbone's configuration names.

    Args:
        config: Of the backbone.
        verbose: Show what vLLM writes, instead of keeping it in a file.

    Raises:
        EngineError: It can't start, or its server does not answer.
        ModelError: The model can't be found or has no weights.
    """
    match config:
        case VllmConfig():
            return VllmEngine.start(config, verbose=verbose)
        case OpenaiConfig():
            return OpenaiEngine.start(config)
        case ScriptedConfig():
            return ScriptedEngine(config)
