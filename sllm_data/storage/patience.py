"""Waiting for a storage: what may pass is tried again, with growing pauses, up to a bound.

    try ─ pause ─ try ─ pause ──── try ─ pause ────────── try      ... StorageError
    └───────────────── at most `patience_s` without a success ──────────────┘

One try may take longer than that: it is never the only one. The pauses double from 0.2 s to 20 s,
each shortened by chance, so that many workers that were turned away together do not come back
together. Nothing else in the project depends on this chance.
That a storage is waited for is said at the first pause, though not more than once a minute.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from sllm_data.errors import StorageAwayError, StorageError
from sllm_data.storage.faults import Fault, fault_of

T = TypeVar("T")

_FIRST_S, _LONGEST_S = 0.2, 20.0
_CHANCE = random.SystemRandom()
_LOG = logging.getLogger(__name__)
_BETWEEN_S = 60.0


class Waits:
    """Says that a storage is waited for; shared by what waits for the same one."""

    def __init__(self) -> None:
        self._last: float | None = None

    def say(self, sentence: str) -> None:
        """Warns, unless that was done a moment ago."""
        now = time.monotonic()
        if self._last is None or now - self._last >= _BETWEEN_S:
            self._last = now
            _LOG.warning("%s", sentence)


class Patience:
    """Calls a storage as often as it takes; one for each piece of work.

    Args:
        place: What is named in errors: a URL without credentials.
        patience_s: The longest time without a success.
        rights: What to check where access is denied.
        waits: Told when it waits.
    """

    def __init__(self, place: str, *, patience_s: float, rights: str, waits: Waits) -> None:
        self._place = place
        self._patience_s = patience_s
        self._rights = rights
        self._waits = waits

    def __call__(self, call: Callable[[], T]) -> T:
        """Returns what `call` returns, as soon as it does.

        Raises:
            StorageAwayError: It did not in time.
            StorageError: It is not allowed.
            Exception: What `call` raises that is neither: the caller knows what it means.
        """
        began, tries = time.monotonic(), 0
        while True:
            try:
                return call()
            except StorageError:
                raise
            except Exception as error:  # whichever library: `fault_of` sorts them
                fault = fault_of(error)
                if not fault.passes:
                    if fault.is_denied:
                        raise StorageError(self._denied(fault)) from None
                    raise
            tries += 1
            longest = min(_FIRST_S * 2 ** (tries - 1), _LONGEST_S)
            left = self._patience_s - (time.monotonic() - began)
            if left <= 0 and tries > 1:
                # not `from error`: the libraries' messages may hold what nobody should read
                raise StorageAwayError(self._gone(fault)) from None
            self._waits.say(
                f"{self._place}: waiting for the storage, found: {fault.why}; it is asked again "
                f"for {self._patience_s:g} s at most"
            )
            time.sleep(min(max(left, _FIRST_S), longest * _CHANCE.uniform(0.5, 1.0)))

    def _denied(self, fault: Fault) -> str:
        return f"{self._place}: access must be allowed, found: {fault.why}; {self._rights}"

    def _gone(self, fault: Fault) -> str:
        return (
            f"{self._place}: the storage must answer, found: {fault.why}, for "
            f"{self._patience_s:g} s; run the same command again when it does"
        )
