"""What stands in a faulty corpus: the good utterances and each fault with its reason."""

from dataclasses import dataclass, field

from sllm_data.records import Reason


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row that must be rejected."""

    name: str
    step: str
    reason: Reason
    row_id: str


@dataclass(kw_only=True)
class Planted:
    """What stands in the corpora."""

    faults: list[Fault] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    """audio_id of every utterance that must become samples."""
    hostile: dict[str, str] = field(default_factory=dict)
    """Transcript by audio_id; these are good, too."""

    def fault(self, name: str, step: str, reason: Reason, row_id: str) -> None:
        self.faults.append(Fault(name=name, step=step, reason=reason, row_id=row_id))
