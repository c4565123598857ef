"""All rules and all levels, joined: what each level checks, and by which names."""

from collections.abc import Callable

from sllm_data.validation import across, columns, contents, footers, manifests, opening
from sllm_data.validation.findings import Tally
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Subject

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        *opening.RULES,
        *manifests.RULES,
        *footers.RULES,
        *columns.RULES,
        *contents.RULES,
        *across.RULES,
    )
}

DEEPER: tuple[Callable[[Subject, Tally], None], ...] = (
    columns.check,
    contents.check,
    across.check,
)
"""The checks of levels 1, 2, 3; that of level 0 is `manifests.check`."""
