"""Level 1: what the contract wants a dataset to have at all."""

from collections.abc import Iterator

from sllm_data.validation.findings import Finding, Tally
from sllm_data.validation.pages import batches, noting_damage
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Subject

RULES = (
    Rule(
        name="required_split",
        level=1,
        meaning="samples/ has rows of every split in the contract's `required_splits`",
    ),
    Rule(
        name="min_samples",
        level=1,
        meaning="samples/ has as many rows as the contract's `min_samples`",
    ),
)

_BATCH_ROWS = 100_000


def check(subject: Subject, tally: Tally) -> None:
    """Checks what the contract asks for; without a contract, nothing."""
    tally.add_all(_fewer(subject))
    if subject.contract.required_splits:
        tally.add_all(_missing_splits(subject))


def _fewer(subject: Subject) -> Iterator[Finding]:
    rows = sum(part.rows for part in subject.parts_of("samples"))
    if rows < subject.contract.min_samples:
        yield Finding(
            rule="min_samples",
            part="samples",
            value=str(rows),
            message=f"must have at least {subject.contract.min_samples} rows, has {rows}",
        )


def _missing_splits(subject: Subject) -> Iterator[Finding]:
    there: set[str] = set()
    for part in subject.parts_of("samples"):
        with noting_damage(part, Tally(0)):  # what is damaged was told by the columns
            for batch in batches(subject.path(part), ["split"], _BATCH_ROWS):
                there.update(batch.column(0).unique().to_pylist())
    for split in subject.contract.required_splits:
        if split not in there:
            yield Finding(
                rule="required_split",
                part="samples",
                column="split",
                value=split,
                message=f"must have rows of {split}, has none",
            )
