"""Level 3: what can only be seen over all parts. Splits, held-out wordings and tasks, answers.

DuckDB reads the few columns that a question needs and spills to disk, so memory is the same
for a thousand rows and for a hundred million.
"""

from sllm_data.validation import answers, apart, doubles, held_out, separation
from sllm_data.validation.findings import Tally
from sllm_data.validation.fingerprints import write_fingerprints
from sllm_data.validation.pages import noting_damage
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part, Subject, database
from sllm_data.validation.views import Views

RULES: tuple[Rule, ...] = (
    *separation.RULES,
    *held_out.RULES,
    *doubles.RULES,
    *answers.RULES,
    *apart.RULES,
)

_QUESTIONS = (
    separation.check,
    held_out.check,
    doubles.check,
    answers.check,
    apart.check,
)
_ALL = Part(file="", table="samples", number=0)


def check(subject: Subject, tally: Tally) -> None:
    """Checks the level."""
    fingerprints = write_fingerprints(subject, tally)
    with database(subject) as connection:
        views = Views(subject, tally, connection, fingerprints)
        for ask in _QUESTIONS:
            with noting_damage(_ALL, tally):
                ask(views)
