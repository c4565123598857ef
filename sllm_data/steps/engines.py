"""The engine of a run, kept from one pass to the next: starting one takes up to minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Protocol

from sllm_data.generation import BackboneConfig, Engine, start_engine


class Crew(Protocol):
    """Workers on other machines, each with an engine: `runners.ray_crew.Crew`."""

    @property
    def work(self) -> Callable[..., Iterator[Any]]:  # Any: what the work posts
        """Lets them work on parts."""

    def close(self) -> None:
        """Ends them."""


class Engines:
    """At most one engine, started when something is asked; `contextlib.closing` ends it.

    Where the engines of a run are on other machines, their workers are kept in its place.
    """

    def __init__(self) -> None:
        self.start_seconds = 0.0
        """That engines took to start, all of them."""
        self._crew: Crew | None = None
        self._engine: Engine | None = None
        self._config: BackboneConfig | None = None

    @contextmanager
    def open(self, config: BackboneConfig) -> Iterator[Engine]:
        """Yields the engine of a configuration: the one that runs already, or a new one.

        It stays for the next call. Where the caller's work fails it is ended, whoever's
        fault it was, so that a retry has a fresh one.

        Raises:
            EngineError: It can't start, or its server does not answer.
            ModelError: The model can't be found or has no weights.
        """
        engine = self._engine
        if engine is None or self._config != config:
            engine = self.renew(config)
        try:
            yield engine
        except BaseException:
            self.close()
            raise

    def crew(self, hired: Callable[[], Crew]) -> Crew:
        """Returns the workers of a run that has its engines elsewhere; they stay likewise."""
        if self._crew is None:
            self._crew = hired()
        return self._crew

    def renew(self, config: BackboneConfig) -> Engine:
        """Ends the engine that runs and starts another, for the caller of `open`.

        Raises:
            EngineError: It can't start, or its server does not answer.
            ModelError: The model can't be found or has no weights.
        """
        self.close()
        begin = monotonic()
        self._engine, self._config = start_engine(config), config
        self.start_seconds += monotonic() - begin
        return self._engine

    def close(self) -> None:
        """Ends the engine, where there is one; it is started again when something is asked."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
