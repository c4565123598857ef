"""Processes that are started anew import what their work needs, and not the program again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec


@contextmanager
def without_main() -> Iterator[None]:
    """Keeps the main module out of the processes that are spawned meanwhile.

    multiprocessing would import it in each of them: the command line with all its commands, or
    a flow with Prefect, which takes seconds. What they are sent must not be defined in it.
    """
    main = sys.modules["__main__"]
    before = main.__spec__
    main.__spec__ = ModuleSpec("__main__", None)  # a name that multiprocessing leaves alone
    try:
        yield
    finally:
        main.__spec__ = before
