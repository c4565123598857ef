"""What an aligner says: when each word sounds, or why it can't tell."""

import math
from dataclasses import dataclass

from sllm_data.errors import SllmDataError
from sllm_data.records import Reason


@dataclass(frozen=True, slots=True)
class Timing:
    """When a word sounds."""

    start_s: float
    end_s: float
    confidence: float | None = None
    """In [0, 1]; None where nobody says."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)):
            raise ValueError(f"must go from a time to a time, found {self.start_s}, {self.end_s}")


@dataclass(frozen=True, slots=True)
class ForeignWord:
    """A word that another program has timed, as it wrote it."""

    text: str
    timing: Timing


class NotAlignedError(SllmDataError):
    """An utterance has no usable alignment; it becomes a rejection."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
