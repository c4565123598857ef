"""What makes a row wrong, as a condition in SQL, and the kinds of conditions there are.

Where a value is missing a condition says nothing, since the rule `null` does. Which column
must fulfil which stands in `row_rules` and `bounds`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sllm_data.validation.subject import quoted

_SHA256 = "[0-9a-f]{64}"
_LANGUAGE = "[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What makes a row wrong."""

    rule: str
    column: str
    """As it is named in a finding; its first level is the column that must be there."""
    wrong: str
    """SQL over the row's columns: true where it is wrong."""
    value: str
    """SQL for the value to show."""
    message: str


def missing(column: str, condition: str) -> Condition:
    """A value that is missing."""
    return Condition(
        rule="null", column=column, wrong=condition, value="NULL", message="a value is missing"
    )


def any_of(values: str, wrong: str) -> str:
    """SQL: whether an element `x` of a list is wrong, or missing itself."""
    return f"len(list_filter({values}, lambda x: x IS NULL OR {wrong})) > 0"


def enum(column: str, values: Iterable[str]) -> Condition:
    """A value that is none of those listed."""
    return not_in("enum", column, dotted(column), values)


def not_in(rule: str, column: str, value: str, values: Iterable[str]) -> Condition:
    """A value that is none of those listed, by the rule that is named."""
    allowed = tuple(values)
    return Condition(
        rule=rule,
        column=column,
        wrong=f"{value} NOT IN ({texts(allowed)})",
        value=value,
        message=f"must be one of {', '.join(allowed)}",
    )


def any_not_in(column: str, elements: str, values: tuple[str, ...]) -> Condition:
    """A list of which an element is none of those listed."""
    wrong = f"list_filter({elements}, lambda x: x NOT IN ({texts(values)}))"
    return Condition(
        rule="enum",
        column=column,
        wrong=f"len({wrong}) > 0",
        value=f"{wrong}[1]",
        message=f"must be one of {', '.join(values)}",
    )


def matching(rule: str, column: str, pattern: str, message: str) -> Condition:
    """A text that does not match a pattern."""
    value = dotted(column)
    return Condition(
        rule=rule,
        column=column,
        wrong=f"NOT regexp_full_match({value}, '{pattern}')",
        value=value,
        message=message,
    )


def sha256(column: str, *, may_be_empty: bool = False) -> Condition:
    """A text that is no SHA-256."""
    pattern = f"({_SHA256})?" if may_be_empty else _SHA256
    return matching("hash_format", column, pattern, "must be 64 lower-case hexadecimal digits")


def id_like(column: str, pattern: str, message: str) -> Condition:
    """A text that has not the form of an id."""
    return matching("id_format", column, pattern, message)


def json_object(column: str) -> Condition:
    """A text that is no JSON object."""
    value = dotted(column)
    return Condition(
        rule="json_format",
        column=column,
        # CASE: json_type must not see what is no JSON
        wrong=f"CASE WHEN json_valid({value}) THEN json_type({value}) <> 'OBJECT' "
        f"ELSE {value} IS NOT NULL END",
        value=value,
        message="must be a JSON object",
    )


def wrong(rule: str, column: str, condition: str, message: str, *, value: str = "") -> Condition:
    """Any condition; its value is the column where no other is named."""
    return Condition(
        rule=rule, column=column, wrong=condition, value=value or dotted(column), message=message
    )


def share(column: str) -> Condition:
    """A number outside 0 to 1."""
    value = dotted(column)
    return wrong("score_range", column, f"NOT {value} BETWEEN 0 AND 1", "must lie in 0 to 1")


def language_code(column: str) -> Condition:
    """A text that is no language code."""
    return matching("language_format", column, _LANGUAGE, "must be a code such as en or zh-CN")


def dotted(column: str) -> str:
    """A column, or a field of a struct, as it stands in SQL."""
    return ".".join(quoted(name) for name in column.split("."))


def texts(values: Iterable[str]) -> str:
    """Texts as a list in SQL."""
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def named(column: str) -> Condition:
    """A name that is empty."""
    value = dotted(column)
    return wrong("empty_text", column, f"trim({value}) = ''", "must not be empty")
