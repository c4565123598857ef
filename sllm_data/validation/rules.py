"""What a rule is: at which level it is checked, and whether it fails a dataset.

Level 0 reads manifests and footers, 1 the columns but no audio, 2 all bytes, 3 looks across
parts. A rule of weight `error` makes a dataset fall short, `warning` is reported only; a
contract may make any rule the one or the other, or switch it off. Each rule stands beside
its check; `levels` joins them.
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal[0, 1, 2, 3]
Weight = Literal["error", "warning", "off"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule."""

    name: str
    level: Level
    meaning: str
    """What must hold, for docs/validation.md."""
    weight: Weight = "error"
    foreign: Weight = "error"
    """Its weight for parts that another program wrote; `off`: it is not checked there."""
