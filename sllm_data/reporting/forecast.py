"""What a run will take, as values: made by `steps.forecast`, shown by `forecast_text`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number that is forecast, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"low <= value <= high must hold, got {self}")

    def times(self, factor: float) -> "Estimate":
        """The same in another unit; `factor` is 0 or more."""
        return Estimate(value=self.value * factor, low=self.low * factor, high=self.high * factor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Requests:
    """The requests of one task in one pass."""

    turn: str
    task: str
    known: Estimate
    """Answered already, in the dataset or in one that it reuses."""
    left: Estimate
    """Still to be asked."""
    prompt_tokens: Estimate
    """Of those that are left."""
    response_tokens: Estimate
    """Of the answers to them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """What the probe measured in one pass, with one engine."""

    answers: int
    """That the probe got."""
    seconds: float
    """That the rate was measured over."""
    requests_per_second: float
    response_tokens_per_second: float
    is_full: bool
    """Whether the engine was full all the while; else it can do more than was measured."""
    is_borrowed: bool
    """Whether the rate is, token for token, that of a pass in which the engine was full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassForecast:
    """One pass of the engine over what is left."""

    turn: str
    left: Estimate
    hours: Estimate
    """Of answering, summed over the engines."""
    speed: Speed | None
    """None where nothing is left to ask."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What is left of a run."""

    dataset: str
    utterances: int
    """Chosen from the corpora."""
    sampled: int
    """Of these, looked at."""
    requests: tuple[Requests, ...]
    passes: tuple[PassForecast, ...]
    samples: Mapping[str, Estimate]
    """Training rows of the finished dataset by task, those that are there included."""
    all_samples: Estimate
    engines: int
    """Side by side."""
    gpus_per_engine: int
    start_seconds: float
    """Of one engine; 0 where none is needed."""
    starts: int
    answer_hours: Estimate
    """Of all engines together."""
    engine_hours: Estimate
    """The same with their starts."""
    gigabytes: Mapping[str, Estimate]
    """Of the finished dataset, by table."""
    gigabytes_there: float
    gigabytes_left: Estimate
    price_per_gpu_hour: float | None
    money: Estimate | None
    """None where no price is given."""
    notes: tuple[str, ...]
    """What to know about the figures above, one sentence each."""

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """Returns all of it as plain values."""
        return asdict(self)
