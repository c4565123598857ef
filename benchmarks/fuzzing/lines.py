"""Which lines of the package an input runs through: the fuzzer's sense of direction.

An input that reaches a line no other one reached is worth keeping and changing further. A
function all of whose lines were seen is not watched any more, so this costs less and less.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import sllm_data

_PACKAGE = str(Path(sllm_data.__file__).parent)
Line = tuple[str, int, int]
"""File, first line of the function, line."""


class Lines:
    """The lines seen so far."""

    def __init__(self) -> None:
        self.seen: set[Line] = set()
        self._left: dict[tuple[str, int, str], set[int]] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watches what runs inside; replaces whatever else traces, coverage included."""
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:  # as settrace wants
        code = frame.f_code
        if not code.co_filename.startswith(_PACKAGE):
            return None
        key = (code.co_filename, code.co_firstlineno, code.co_name)
        left = self._left.get(key)
        if left is None:
            left = self._left[key] = self._lines_of(code)
        if not left:
            return None

        def line(inner: FrameType, event: str, _argument: Any) -> Any:
            if event == "line" and inner.f_lineno in left:
                left.discard(inner.f_lineno)
                self.seen.add((code.co_filename, code.co_firstlineno, inner.f_lineno))
            return line

        return line

    def _lines_of(self, code: CodeType) -> set[int]:
        """Lines of a function that were not seen yet."""
        start = code.co_firstlineno
        lines = {line for _, _, line in code.co_lines() if line is not None}
        # the line of `def` is there but never run, unless it is all there is
        lines = lines - {start} or lines
        return {n for n in lines if (code.co_filename, start, n) not in self.seen}
