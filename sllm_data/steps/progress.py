"""What a person sees while a step works: a bar per step, or nothing.

Bars go to standard error, and only when it is a terminal or the caller asks for them, so
that logs of scheduled runs stay short.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

Item = TypeVar("Item")


class Progress:
    """Bars on a console; `Progress(None)` is silent."""

    def __init__(self, console: Console | None) -> None:
        self._console = console

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator["Bar"]:
        """Shows a bar while the block runs."""
        with self.bars({name: total}) as (bar,):
            yield bar

    @contextmanager
    def bars(self, totals: Mapping[str, int]) -> Iterator[list["Bar"]]:
        """Shows a bar for each name while the block runs; they come in the order of the names."""
        if self._console is None:
            yield [Bar(None, None) for _ in totals]
            return
        with Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        ) as bars:
            yield [
                Bar(bars, bars.add_task(name, total=total, note=""))
                for name, total in totals.items()
            ]

    def parts(self, name: str, items: Iterator[Item], *, total: int) -> Iterator[Item]:
        """Passes items through and moves a bar by one for each."""
        with self.bar(name, total) as bar:
            for item in items:
                bar.advance()
                yield item


class Bar:
    """One bar; a silent one when nobody watches."""

    def __init__(self, bars: Bars | None, task: TaskID | None) -> None:
        self._bars = bars
        self._task = task

    def advance(self, step: int = 1, note: str | None = None) -> None:
        """Moves the bar and, where given, replaces the note behind it."""
        if self._bars is None or self._task is None:
            return
        self._bars.advance(self._task, step)
        if note is not None:
            self._bars.update(self._task, note=note)
