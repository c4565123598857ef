"""The figures of a run: asked for at a port by Prometheus, written to a file, or sent by OTLP.

sllm_rows_total{step}                   rows of committed parts, answers in generate
sllm_rejected_total{step,reason}        rows that were dropped, of committed parts
sllm_parts_left{step}                   parts to do
sllm_tokens_total{kind}                 prompt, cached (of prompt), response
sllm_requests_in_flight                 submitted and not answered
sllm_engine_busy_seconds_total          while at least one request was in flight
sllm_engine_seconds_total               since the first request of a pass
sllm_engine_starts_total{why}           restarted, recycled
sllm_memory_bytes                       of this process and all below it
sllm_last_event_seconds                 Unix time of the last sign of life
sllm_run_active                         1 while the run lasts, 0 in what it leaves behind
sllm_run_info{output,recipe,model}      1
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Info, generate_latest
from prometheus_client.exposition import start_http_server

from sllm_data.errors import OutputError
from sllm_data.files import atomic_path
from sllm_data.steps.otlp import sending
from sllm_data.watch import WatchConfig

Facts = Mapping[str, Any]  # Any: plain JSON values


class Metrics:
    """The figures; takes a run's events.

    Args:
        about: What the run is: output, recipe, model.
    """

    def __init__(self, about: Mapping[str, str]) -> None:
        self.registry = CollectorRegistry()
        info = Info("sllm_run", "What is run", registry=self.registry)
        info.info(dict(about))
        self._rows = self._counter("rows", "Rows of committed parts", "step")
        self._rejected = self._counter("rejected", "Rows that were dropped", "step", "reason")
        self._left = Gauge("sllm_parts_left", "Parts to do", ("step",), registry=self.registry)
        self._tokens = self._counter("tokens", "Tokens of prompts and answers", "kind")
        self._in_flight = Gauge(
            "sllm_requests_in_flight", "Submitted and not answered", registry=self.registry
        )
        self._busy = self._counter("engine_busy_seconds", "While a request was in flight")
        self._seconds = self._counter("engine_seconds", "Since the first request of a pass")
        self._starts = self._counter("engine_starts", "Engines started again", "why")
        memory = Gauge(
            "sllm_memory_bytes", "Of this process and all below it", registry=self.registry
        )
        memory.set_function(_memory)
        self._last = Gauge(
            "sllm_last_event_seconds", "Unix time of the last event", registry=self.registry
        )
        self._last.set(time.time())
        self.active = Gauge("sllm_run_active", "1 while the run lasts", registry=self.registry)
        self.active.set(1)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"sllm_{name}", meaning, labels, registry=self.registry)

    def __call__(self, event: str, facts: Facts) -> None:
        """Takes one event."""
        self._last.set(time.time())
        match event:
            case "begins":
                self._left.labels(facts["step"]).set(facts["left"])
            case "committed":
                self._rows.labels(facts["step"]).inc(facts["rows"])
                self._left.labels(facts["step"]).set(facts["left"])
                for reason, rows in facts["reasons"].items():
                    self._rejected.labels(facts["step"], reason).inc(rows)
            case "answers":
                for kind in ("prompt", "cached", "response"):
                    self._tokens.labels(kind).inc(facts[f"{kind}_tokens"])
                self._in_flight.set(facts["in_flight"])
                self._busy.inc(facts["busy_seconds"])
                self._seconds.inc(facts["seconds"])
            case "engine":
                self._starts.labels(facts["what"]).inc()
            case "ends":
                self._in_flight.set(0)


def _memory() -> float:
    total = 0
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:  # it ended while we looked
            continue
    return float(total)


@contextmanager
def listening_metrics(
    config: WatchConfig, *, about: Mapping[str, str]
) -> Iterator[Callable[[str, Facts], None]]:
    """Yields what takes events, while the figures can be asked for, are written or sent.

    Raises:
        OutputError: The port is taken, or the file can't be written.
    """
    metrics = Metrics(about)
    with ExitStack() as stack:
        if config.metrics_port is not None:
            stack.enter_context(_served(metrics, config.metrics_address, config.metrics_port))
        if config.otlp_endpoint is not None:
            stack.enter_context(
                sending(
                    metrics.registry,
                    config.otlp_endpoint,
                    interval_s=config.interval_s,
                    instance=about.get("output", ""),
                )
            )
        failed: list[OutputError] = []
        if config.metrics_file is not None:
            failed = stack.enter_context(_written(metrics, config.metrics_file, config.interval_s))
        stack.callback(metrics.active.set, 0)  # before they are written and sent for the last time

        def take(event: str, facts: Facts) -> None:
            if failed and event != "fails":
                raise failed[0]
            metrics(event, facts)

        yield take


@contextmanager
def _served(metrics: Metrics, address: str, port: int) -> Iterator[None]:
    try:
        server, thread = start_http_server(port, addr=address, registry=metrics.registry)
    except OSError as error:
        raise OutputError(
            f"watch.metrics_port: {address}:{port} can't be opened: {error.strerror or error}; "
            "name another port"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _written(metrics: Metrics, path: Path, interval_s: float) -> Iterator[list[OutputError]]:
    """Writes the file now and then and in the end; yields why it could not, when it could not."""
    failed: list[OutputError] = []
    ended = Event()

    def write_on() -> None:
        while not failed and not ended.wait(interval_s):
            try:
                _write(metrics, path)
            except OutputError as error:
                failed.append(error)

    _write(metrics, path)  # what can't be written is known at once
    thread = Thread(target=write_on, daemon=True)
    thread.start()
    try:
        yield failed
    finally:
        ended.set()
        thread.join()
        with suppress(OutputError):  # it could be written at the start; the run's own end counts
            _write(metrics, path)


def _write(metrics: Metrics, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(generate_latest(metrics.registry))
