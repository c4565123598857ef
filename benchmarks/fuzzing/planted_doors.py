"""Doors that misbehave on purpose, to see that the fuzzer notices.

    python benchmarks/fuzz.py --target planted_crash --inputs 200

Each takes any input, but for those that hold a `!`, on which it does what its name says.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path

from fuzzing.mutating import Mutator
from fuzzing.trial import Door, Taken, Target, must

from sllm_data.errors import CorpusError

_GROWTH_BYTES = 600 * 2**20


def _error() -> None:
    raise KeyError("planted")


def _crash() -> None:
    ctypes.string_at(0)


def _exit() -> None:
    raise SystemExit(3)


def _hang() -> None:
    while True:
        pass


def _memory() -> None:
    bytearray(_GROWTH_BYTES)


def _promise() -> None:
    must(False, "planted")


def _sentence() -> None:
    error = CorpusError("planted")
    error.args = ("two\nlines",)
    raise error


def _planted(name: str, misbehave: Callable[[], None]) -> Target:
    def open_door(_folder: Path) -> Door:
        def door(content: bytes) -> Taken:
            if b"!" in content:
                misbehave()
            return Taken()

        return door

    return Target(
        name=f"planted_{name}",
        open=open_door,
        seeds=lambda: [b"good", b"better", b"bad!"],
        mutator=Mutator(tokens=("!",)),
    )


TARGETS = (
    _planted("error", _error),
    _planted("crash", _crash),
    _planted("exit", _exit),
    _planted("hang", _hang),
    _planted("memory", _memory),
    _planted("promise", _promise),
    _planted("sentence", _sentence),
)
