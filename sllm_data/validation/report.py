"""What a validation found, as values: the formats in `formats` print nothing else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import sllm_data
from sllm_data.validation.findings import Finding, Looked
from sllm_data.validation.rules import Rule, Weight

FORMAT = 1
"""Version of the JSON document; it grows by fields and never changes a meaning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One rule and what broke it."""

    rule: Rule
    weight: Weight
    """The weight that it had here: the rule's own, or the contract's."""
    count: int
    """Findings, those that are not listed included."""
    findings: tuple[Finding, ...]
    """The first of them."""

    @property
    def is_failure(self) -> bool:
        """Whether it makes the dataset fall short."""
        return self.weight == "error" and self.count > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A dataset judged."""

    dataset: str
    level: int
    foreign: bool
    """Whether another program wrote the parts."""
    schema_version: int
    contract: str
    """Path of the contract; empty without one."""
    sample: float
    outcomes: tuple[Outcome, ...]
    """One for each rule up to the level, in the order of the levels."""
    looked: Mapping[tuple[int, str], Looked] = field(default_factory=dict)
    """What was looked at, by level and table."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no rule of weight error was broken."""
        return not any(outcome.is_failure for outcome in self.outcomes)

    def number(self, weight: Weight) -> int:
        """Findings of all rules of a weight."""
        return sum(outcome.count for outcome in self.outcomes if outcome.weight == weight)

    def as_json(self) -> dict[str, Any]:  # Any: JSON document
        """The same as plain values."""
        return {
            "format": FORMAT,
            "sllm_data": sllm_data.__version__,
            "dataset": self.dataset,
            "level": self.level,
            "passed": self.passed,
            "errors": self.number("error"),
            "warnings": self.number("warning"),
            "foreign": self.foreign,
            "schema_version": self.schema_version,
            "contract": self.contract or None,
            "sample": self.sample,
            "seconds": round(self.seconds, 3),
            "looked": [
                {"level": level, "table": table, **asdict(looked)}
                for (level, table), looked in self.looked.items()
            ],
            "rules": [
                {
                    "name": outcome.rule.name,
                    "level": outcome.rule.level,
                    "weight": outcome.weight,
                    "count": outcome.count,
                    "findings": [asdict(finding) for finding in outcome.findings],
                }
                for outcome in self.outcomes
            ],
        }
