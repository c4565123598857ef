"""What a run tells while it works: events, and who listens to them.

    begins     step, parts, left
    committed  step, files, rows, rejected, left, reasons
    answers    rows, prompt_tokens, response_tokens, cached_tokens, in_flight, busy_seconds
    engine     what (restarted, recycled), count
    ends       step, rows, rejected, reasons, parts_made, seconds: of this run
    warns      warning
    fails      error

A listener that can't listen ends the run with a sentence: a night that nobody could watch is
noticed at its start. What the package warns of (a storage that is waited for) is among the lines
where there are any; elsewhere `logging` shows it, on standard error.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from sllm_data.errors import OutputError, SllmDataError
from sllm_data.files import writing
from sllm_data.steps.metrics import listening_metrics
from sllm_data.watch import WatchConfig

Facts = Mapping[str, Any]  # Any: plain JSON values
Listener = Callable[[str, Facts], None]


def unheard(_event: str, _facts: Facts) -> None:
    """A listener for those whom nobody watches."""


_TEXT_FACTS = {
    "begins": "{left:,} of {parts:,} parts left",
    "ends": "{rows:,} rows, {rejected:,} rejected, {parts_made:,} parts made in {seconds:,.1f} s",
    "engine": "engine {what}, {count} times by now",
    "warns": "{warning}",
    "fails": "{error}",
}
_PACKAGE = "sllm_data"


class Lines:
    """Writes events as lines; what comes often is summed up and told now and then.

    Args:
        stream: Where to.
        as_json: One object a line, otherwise text for people.
        interval_s: Seconds between two lines about work that goes on.
        at_once: Whether beginnings and ends are told, too, however short the work was.
    """

    def __init__(self, stream: TextIO, *, as_json: bool, interval_s: float, at_once: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._interval_s = interval_s
        self._at_once = at_once
        self._step = ""
        self._last = time.monotonic()
        self._sums: dict[str, float] = {}
        self._latest: dict[str, Any] = {}

    def __call__(self, event: str, facts: Facts) -> None:
        """Takes one event."""
        if event in ("committed", "answers"):
            self._sum_up(facts)
            if time.monotonic() - self._last >= self._interval_s:
                self._tell_sums()
            return
        if event == "begins":
            self._sums.clear()
            self._latest = {}
            self._step = facts["step"]
            self._last = time.monotonic()
        if self._at_once or event in ("engine", "warns"):
            self._write(event, {"step": self._step} | dict(facts))

    def _sum_up(self, facts: Facts) -> None:
        for name, value in facts.items():
            if name in ("left", "in_flight"):
                self._latest[name] = value
            elif isinstance(value, int | float):
                self._sums[name] = self._sums.get(name, 0) + value

    def _tell_sums(self) -> None:
        now = time.monotonic()
        facts = {"step": self._step, "over_s": round(now - self._last, 1)}
        self._write("goes_on", facts | self._sums | self._latest)
        self._last = now
        self._sums.clear()

    def _write(self, event: str, facts: Facts) -> None:
        if self._as_json:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"time": at, "event": event, **facts}, ensure_ascii=False)
        else:
            line = _as_text(event, facts)
        with writing(Path("standard error")):
            self._stream.write(line + "\n")
            self._stream.flush()


def _as_text(event: str, facts: Facts) -> str:
    at = datetime.now(UTC).strftime("%H:%M:%S")
    if event in _TEXT_FACTS:
        told = _TEXT_FACTS[event].format(**facts)
    else:
        seconds = max(facts["over_s"], 0.1)
        told = ", ".join(
            f"{value:,} {name.replace('_', ' ')}"
            if name in ("left", "in_flight")
            else f"{value / seconds:,.1f} {name.replace('_', ' ')}/s"
            for name, value in facts.items()
            if name not in ("step", "over_s", "busy_seconds", "seconds")
        )
    return f"{at} {facts['step']}: {told}" if facts["step"] else f"{at} {told}"


class _Warnings(logging.Handler):
    """Makes lines of what the package warns of."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one warning."""
        with suppress(OutputError):  # the next line of the run itself finds that, too
            self._lines("warns", {"warning": record.getMessage()})


@contextmanager
def watched(
    config: WatchConfig, *, about: Mapping[str, str], stream: TextIO | None = None
) -> Iterator[Listener]:
    """Yields what a run tells its events; what listens stands for the length of the block.

    Args:
        config: Who listens.
        about: What is the same for all figures: output, recipe.
        stream: Where lines go; standard error where absent.

    Raises:
        OutputError: The port is taken, or the file can't be written.
    """
    stream = stream or sys.stderr
    listeners: list[Listener] = []
    with ExitStack() as stack:
        if config.log in ("text", "json") or (config.log == "auto" and not stream.isatty()):
            lines = Lines(
                stream,
                as_json=config.log == "json",
                interval_s=config.interval_s,
                at_once=config.log != "auto",
            )
            listeners.append(lines)
            handler, log = _Warnings(lines), logging.getLogger(_PACKAGE)
            log.addHandler(handler)
            stack.callback(log.removeHandler, handler)
        if config.metrics_port or config.metrics_file or config.otlp_endpoint:
            listeners.append(stack.enter_context(listening_metrics(config, about=about)))

        def tell(event: str, facts: Facts) -> None:
            for listener in listeners:
                listener(event, facts)

        try:
            yield tell
        except SllmDataError as error:
            with suppress(OutputError):  # nobody can be told; the error itself is on its way
                tell("fails", {"error": str(error)})
            raise
