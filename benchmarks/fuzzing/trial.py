"""One input against one door: what came of it, and whether that is allowed to come.

A door may take an input (with rows that it rejects), or refuse it with one of the project's
own errors. Anything else is a failure: another exception, a sentence that is not one line,
a row that was lost, a record that does not survive being written down.
"""

import random
import re
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.mutating import Mutator

import sllm_data
from sllm_data.errors import SllmDataError
from sllm_data.records import Rejection

MAX_SENTENCE = 2_000
"""Characters of an error, its path included; a list of 20 names may be that long."""
MAX_DETAIL = 500
_PACKAGE = str(Path(sllm_data.__file__).parent)
_SHAPE = 70
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_NAMES = re.compile(r"\S*[/.]\S+")
_LISTS = re.compile(r"(found|has|there is|missing|one of|got):? [^;]*")
_NUMBERS = re.compile(r"[0-9]+")


class Broken(Exception):  # noqa: N818 - it is what the promise is
    """A promise about what comes out does not hold; str() says which one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a door made of an input that it took."""

    good: int = 1
    """Rows or records that may be used."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Rows that may not, by reason."""
    shapes: frozenset[str] = frozenset()
    """What was said of them, values left out."""


Door = Callable[[bytes], Taken]
"""Takes an input; one that keeps something open has a method `close`."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A door with what it takes to fuzz it."""

    name: str
    open: Callable[[Path], Door]
    """Prepares the door in an empty folder; what it returns is called for each input."""
    seeds: Callable[[], Sequence[bytes]]
    """Good and nearly good inputs."""
    mutator: Mutator
    craft: Callable[[random.Random], bytes] | None = None
    """Makes inputs that changing bytes would hardly ever make, such as a sound checksum."""
    in_child: bool = False
    """A library in C reads the bytes: a crash must not take the fuzzer along."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one input."""

    taken: Taken | None = None
    refused: str | None = None
    """Class of the project's error."""
    failure: "Failure | None" = None
    shape: str = ""
    """The same for inputs that end in the same way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What must not happen."""

    kind: str
    """Exception, signal, `hang` or `memory`."""
    where: str
    """Innermost line of the package, or of a door."""
    story: str
    """Traceback, or what was measured."""

    @property
    def signature(self) -> str:
        """Equal where the cause is most likely the same."""
        return f"{self.kind} at {self.where}"


def attempt(door: Door, content: bytes) -> Outcome:
    """Tries one input."""
    try:
        taken = door(content)
    except SllmDataError as error:
        name, sentence = type(error).__name__, str(error)
        try:
            check_line(sentence, what=f"a {name}", at_most=MAX_SENTENCE)
        except Broken as broken:
            return Outcome(failure=_failure(broken, since=error), shape="broken sentence")
        return Outcome(refused=name, shape=f"{name}: {shape_of(sentence)}")
    except Exception as error:  # noqa: BLE001 - what is looked for
        failure = _failure(error)
        return Outcome(failure=failure, shape=failure.signature)
    reasons = ", ".join(sorted(taken.rejected))
    shape = f"taken: {reasons or 'good'}; {'; '.join(sorted(taken.shapes))}"
    return Outcome(taken=taken, shape=shape if taken.good else f"{shape}; nothing good")


def close(door: Door) -> None:
    """Ends what a door keeps open, where it keeps anything."""
    end: Callable[[], None] | None = getattr(door, "close", None)
    if end is not None:
        end()


def check_line(text: str, *, what: str, at_most: int) -> None:
    """Checks that a text for people is one printable, bounded line.

    Raises:
        Broken: It is not.
    """
    if not text.strip():
        raise Broken(f"{what} must say something")
    if not text.isprintable():
        odd = next(character for character in text if not character.isprintable())
        raise Broken(f"{what} must be one printable line, holds {odd!r}: {text[:300]!r}")
    if len(text) > at_most:
        raise Broken(f"{what} must have at most {at_most} characters, has {len(text)}: {text!r}")


def taken_from(rows: Sequence[object]) -> Taken:
    """Counts rows, checking each rejection.

    Raises:
        Broken: What a rejection says is not one printable line.
    """
    rejected: Counter[str] = Counter()
    shapes = set()
    for row in rows:
        if isinstance(row, Rejection):
            check_line(row.detail, what=f"detail of {row.reason}", at_most=MAX_DETAIL)
            check_line(row.row_id, what=f"row_id of {row.reason}", at_most=1 << 20)
            rejected[row.reason] += 1
            shapes.add(shape_of(row.detail))
    good = len(rows) - rejected.total()
    return Taken(good=good, rejected=dict(rejected), shapes=frozenset(shapes))


def must(holds: object, promise: str) -> None:
    """Checks a promise.

    Raises:
        Broken: It does not hold.
    """
    if not holds:
        raise Broken(promise)


def shape_of(sentence: str) -> str:
    """Returns a sentence without its values: paths, quotations, numbers."""
    text = _NAMES.sub("_", _QUOTED.sub("'_'", sentence))
    return _NUMBERS.sub("0", _LISTS.sub(r"\1 _", text))[:_SHAPE]


def _failure(error: BaseException, *, since: BaseException | None = None) -> Failure:
    frames = traceback.extract_tb((since or error).__traceback__)
    # a broken promise is laid to the door that checked it, not to the check
    there = [frame for frame in frames if frame.filename != __file__] or frames
    ours = [frame for frame in there if frame.filename.startswith(_PACKAGE)]
    at = (ours or there)[-1]
    story = "".join(traceback.format_exception(error))
    if since is not None:
        story += "\nwhich is said of:\n" + "".join(traceback.format_exception(since))
    return Failure(
        kind=type(error).__name__, where=f"{Path(at.filename).name}:{at.lineno}", story=story
    )
