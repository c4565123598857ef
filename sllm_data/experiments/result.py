"""What a study found, and how it was asked."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.report import shown
from sllm_data.experiments.arms import Outcome, Scale
from sllm_data.experiments.studies import STUDIES, StudyPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What a study found."""

    name: str
    outcomes: Sequence[Outcome]
    figures: Mapping[str, Mapping[str, Estimate]]
    """By arm and name: mean over seeds, from the lowest to the highest."""
    scale: Scale
    hours: float
    jobs: int
    """Trainings at once."""
    seconds: float
    """That all calls took that came to an end."""
    machine: str
    """That the last one ran on."""
    dataset: Path
    """All of the data, which all arms are asked about."""
    run_yamls: Sequence[Path]
    """Of the data of all arms."""

    @property
    def plan(self) -> StudyPlan:
        """What was compared."""
        return STUDIES[self.name]

    @property
    def seeds(self) -> int:
        """Trainings of each arm."""
        return len({each.seed for each in self.outcomes})

    def lines(self) -> list[tuple[str, ...]]:
        """Returns the table that the study shows: an arm and its figures in a line."""
        return [
            (arm, *(self._cell(figures[name]) for name in self.plan.shows))
            for arm, figures in self.figures.items()
        ]

    def command(self) -> str:
        """Returns the command that makes it again."""
        arms = list(self.figures)
        core = [arm.name for arm in self.plan.core]
        options = {
            "--arms": None if arms == core else ",".join(arms),
            "--seeds": None if self.seeds == 1 else self.seeds,
            "--hours": f"{self.hours:g}",
            "--steps": self.scale.steps,
            "--budget": self.scale.budget,
            "--rows": self.scale.rows,
            "--split": None if self.scale.split == "test" else self.scale.split,
        }
        given = [f"{name} {value}" for name, value in options.items() if value is not None]
        return " ".join(("sllm-data experiment", shlex.quote(self.name), "FOLDER", *given))

    def _cell(self, estimate: Estimate) -> str:
        some = 0 < estimate.rows < self.seeds
        return f"{shown(estimate)} ({estimate.rows} of {self.seeds})" if some else shown(estimate)
