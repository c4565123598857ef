"""What a check found wrong: part, row, column, rule and value, and one sentence.

A `Tally` counts every finding and keeps the first few of each rule, so that a dataset in
which every row is wrong takes no more memory than one with a single fault.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_VALUE_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that contradicts the contract."""

    rule: str
    """Its name in `levels.RULES`, which knows its level and whether it fails a dataset."""
    part: str
    """File relative to the dataset, with forward slashes; empty where it concerns them all."""
    message: str
    """One line: what was expected and what was found."""
    row: str = ""
    """Key of the row (sample_id, audio_id, ...), or `row 12` from 0 where it has none."""
    column: str = ""
    value: str = ""
    """The value found, cut to 80 characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """How much of a table was looked at, at one level."""

    parts: int = 0
    rows: int = 0
    of_rows: int = 0
    """Rows that are there; more than `rows` where only a sample was looked at."""

    def plus(self, other: "Looked") -> "Looked":
        """Adds what another job looked at."""
        return Looked(
            parts=self.parts + other.parts,
            rows=self.rows + other.rows,
            of_rows=self.of_rows + other.of_rows,
        )


class Tally:
    """Findings of any number of parts: all counted, the first `keep` of each rule kept.

    Which are kept does not depend on the order in which tallies are merged: those of the
    first parts by name, and within a part in the order in which they were added.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.counts: Counter[str] = Counter()
        """Findings by rule, those not kept included."""
        self._kept: dict[str, list[Finding]] = {}
        self._looked: dict[tuple[int, str], Looked] = {}

    def add(self, finding: Finding) -> None:
        """Counts a finding and keeps it where it is among the first."""
        self.counts[finding.rule] += 1
        self._keep(finding.rule, [finding])

    def add_all(self, findings: Iterable[Finding]) -> None:
        """Adds findings one by one."""
        for finding in findings:
            self.add(finding)

    def count_more(self, rule: str, count: int) -> None:
        """Counts findings that are like the kept ones and need no words of their own."""
        if count > 0:
            self.counts[rule] += count

    def look(self, level: int, table: str, *, rows: int, of_rows: int | None = None) -> None:
        """Notes that a part of a table was looked at."""
        self._look((level, table), Looked(parts=1, rows=rows, of_rows=of_rows or rows))

    def merge(self, other: "Tally") -> None:
        """Adds what another tally holds."""
        self.counts.update(other.counts)
        for rule in other.counts:
            self._keep(rule, [*other.findings(rule)])
        for key, looked in other.looked.items():
            self._look(key, looked)

    def findings(self, rule: str) -> tuple[Finding, ...]:
        """The kept findings of a rule, by part."""
        return tuple(self._kept.get(rule, ()))

    @property
    def looked(self) -> Mapping[tuple[int, str], Looked]:
        """What was looked at, by level and table."""
        return dict(sorted(self._looked.items()))

    def _keep(self, rule: str, findings: list[Finding]) -> None:
        kept = [*self._kept.get(rule, ()), *findings]
        kept.sort(key=lambda finding: finding.part)  # stable: order within a part stays
        self._kept[rule] = kept[: self.keep]

    def _look(self, key: tuple[int, str], looked: Looked) -> None:
        self._looked[key] = self._looked.get(key, Looked()).plus(looked)


def shown(value: object) -> str:
    """Returns a value as one short line for a finding.

    >>> shown("a" * 100)[-5:]
    'aa...'
    """
    text = "" if value is None else str(value)
    if len(text) > MAX_VALUE_CHARACTERS:
        text = text[: MAX_VALUE_CHARACTERS - 3] + "..."
    return text
