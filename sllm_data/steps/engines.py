"""The engine of a run, kept from one pass to the next: starting one takes up to minutes."""

from collections.abc import Iterator
from contextlib import contextmanager

from sllm_data.generation import BackboneConfig, Engine, start_engine


class Engines:
    """At most one engine, started when something is asked; `contextlib.closing` ends it."""

    def __init__(self) -> None:
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
        if self._engine is None or self._config != config:
            self.close()
            self._engine, self._config = start_engine(config), config
        try:
            yield self._engine
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the engine, where there is one; it is started again when something is asked."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
