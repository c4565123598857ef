"""How many answers had come by when, for whoever reads about a run later.

It says how fast a machine was, so it stands in `reports/` and is no part of what a dataset is.
"""

import json
from pathlib import Path

from sllm_data.files import write_text

MAX_POINTS = 200
MAX_RUNS = 20
"""The latest ones are kept."""
_FIRST_STEP_S = 0.5

Point = tuple[float, int]


class Course:
    """Points of one run, evenly apart in time: however long it lasts, they stay few.

    0.5 s . . . . . . . .   too many: every other one goes, the next are twice as far apart
    1.0 s   .   .   .   .   .   .   .   .
    """

    def __init__(self) -> None:
        self._step_s = _FIRST_STEP_S
        self._points: list[Point] = []
        self._last: Point = (0.0, 0)

    def add(self, responses: int, seconds: float) -> None:
        """Adds answers.

        Args:
            responses: How many came.
            seconds: When, from the first request on; where several workers tell, each its own.
        """
        at = max(seconds, self._last[0])
        self._last = (at, self._last[1] + responses)
        if at - (self._points[-1][0] if self._points else 0.0) >= self._step_s:
            self._points.append(self._last)
        if len(self._points) >= MAX_POINTS:
            self._points = self._points[1::2]
            self._step_s *= 2

    def points(self) -> list[Point]:
        """Returns seconds and answers until then; the last point is the end."""
        ends = [self._last] if self._last[1] and self._last not in self._points[-1:] else []
        return [*self._points, *ends]


def append_course(path: Path, course: Course) -> None:
    """Writes a run behind those that the file holds; one that can't be read is written anew.

    Raises:
        OutputError: The file can't be written.
    """
    try:
        runs = list(json.loads(path.read_text(encoding="utf-8"))["runs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        runs = []  # figures of speed are not worth a run
    runs = [*runs, course.points()][-MAX_RUNS:]
    write_text(path, json.dumps({"runs": runs}) + "\n")
