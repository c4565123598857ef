"""How fast an engine was in a probe, and how long it takes for more.

answers and their times ──> windows ──> requests/s, with an interval ──> seconds
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from sllm_data.reporting.forecast import Speed
from sllm_data.steps.forecast_numbers import DRAWS, Amount, Table

MAX_WINDOWS = 20
_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """Answers that came at one moment."""

    seconds: float
    """Since the first request was submitted."""
    answers: int
    response_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One pass of the probe: requests go in as fast as the engine takes them.

    0 ────────── full_from ═══════════ full_until ────────── last answer
     each place filled     steady state            places empty
    """

    arrivals: tuple[Arrival, ...]
    """In their order, at least one."""
    full_from: float | None
    """From when on the rate is measured; None where the engine was never full."""
    full_until: float
    is_drained: bool
    """Whether the last answer was waited for."""

    @property
    def answers(self) -> int:
        """How many came."""
        return sum(arrival.answers for arrival in self.arrivals)

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return self.arrivals[-1].seconds

    @property
    def is_full(self) -> bool:
        """Whether there was a steady state to measure."""
        return (
            self.full_from is not None
            and sum(a.answers for a in self.arrivals if self._is_within(a)) > 1
        )

    def _is_within(self, arrival: Arrival) -> bool:
        return self.full_from is not None and self.full_from < arrival.seconds <= self.full_until

    def windows(self) -> tuple[Table, float]:
        """Cuts the steady state into windows; all of the trial where there is none.

        Returns:
            (W, 2) answers and response tokens in each, and the seconds of one.
        """
        begin, end = 0.0, self.seconds
        within = list(self.arrivals)
        if self.is_full:
            begin, end = self.full_from or 0.0, self.full_until
            within = [arrival for arrival in self.arrivals if self._is_within(arrival)]
        width = max(end - begin, 1e-9) / min(MAX_WINDOWS, len(within))
        table = np.zeros((min(MAX_WINDOWS, len(within)), 2))
        for arrival in within:
            place = min(len(table) - 1, math.ceil((arrival.seconds - begin) / width) - 1)
            table[max(0, place)] += (arrival.answers, arrival.response_tokens)
        return table, width

    def seconds_for(self, requests: float, rate: float) -> float:
        """How long an engine takes for so many requests.

        What the trial answered takes what it took, filling and emptying the engine included;
        each request beyond that takes its share of a full engine.
        """
        if not self.is_drained:
            return requests / rate
        if requests <= self.answers:
            return self.seconds * requests / self.answers
        return self.seconds + (requests - self.answers) / rate


def rate_draws(windows: Table, width: float, rng: np.random.Generator) -> Table:
    """Requests per second of windows that are drawn again.

    Returns:
        (DRAWS,), all above 0: at least half an answer in all windows together.
    """
    places = rng.integers(len(windows), size=(DRAWS, len(windows)))
    answers = windows[places, 0].sum(axis=1)
    rates: Table = np.maximum(answers, 0.5) / (len(windows) * width)
    return rates


def speed_of(trial: Trial) -> Speed:
    """The rates that a trial shows."""
    windows, width = trial.windows()
    seconds = len(windows) * width
    answers, tokens = windows.sum(axis=0).tolist()
    return Speed(
        answers=trial.answers,
        seconds=seconds,
        requests_per_second=answers / seconds,
        response_tokens_per_second=tokens / seconds,
        is_full=trial.is_full,
        is_borrowed=False,
    )


def borrowed(speed: Speed, rate: float) -> Speed:
    """The speed of a pass in which the engine was not full: at least what it does elsewhere."""
    if speed.is_full or rate <= speed.requests_per_second:
        return speed
    return replace(
        speed,
        requests_per_second=rate,
        response_tokens_per_second=speed.response_tokens_per_second
        * (rate / speed.requests_per_second),
        is_borrowed=True,
    )


def hours_for(
    left: Amount, trial: Trial, rate: float, *, engines: int, rng: np.random.Generator
) -> Amount:
    """Hours of all engines for the requests of a pass.

    Args:
        left: The requests.
        trial: Of one engine.
        rate: Requests per second of a full engine.
        engines: How many share the requests evenly.
        rng: Of the draws.
    """
    windows, width = trial.windows()
    measured = windows[:, 0].sum() / (len(windows) * width)
    slower = measured / rate_draws(windows, width, rng)
    hours = [
        engines * trial.seconds_for(requests / engines, rate) / _HOUR_S
        for requests in (left.mean, *left.draws.tolist())
    ]
    return Amount(mean=hours[0], draws=np.asarray(hours[1:]) * slower)
