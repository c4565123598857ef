"""Level 0: a part's columns against the published schema of its table."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from sllm_data.validation.findings import Finding, shown
from sllm_data.validation.published import PublishedTable, is_named, type_name
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part

RULES = (
    Rule(
        name="part_schema",
        level=0,
        meaning="a part has every published column, with its type; where this package wrote it, "
        "a column that is never missing is required in Parquet too",
    ),
    Rule(
        name="extra_column",
        level=0,
        meaning="a part has no further column, but for `extra_columns` of the contract in their "
        "types",
    ),
)


def schema_faults(
    part: Part, schema: pa.Schema, table: PublishedTable | None, *, foreign: bool
) -> Iterator[Finding]:
    """Yields where a part has not the columns of its table; such a part can't be read as one."""
    if table is None:
        message = f"schema.json must publish its table, has no {part.table}"
        yield Finding(rule="part_schema", part=part.file, message=message)
        return
    names = set(schema.names)
    if len(names) < len(schema.names):
        message = "every column must stand there once"
        yield Finding(rule="part_schema", part=part.file, value="twice", message=message)
        return
    for name, column in table.columns.items():
        if name not in names:
            message = f"the column must be there ({column}), is missing"
            if not (column.nullable and foreign):
                yield Finding(rule="part_schema", part=part.file, column=name, message=message)
            continue
        field = schema.field(name)
        found = type_name(field.type)
        if found != column.type:
            yield _wrong_type("part_schema", part, name, column.type, found)
        elif not foreign and field.nullable != (column.nullable or name == "audio"):
            value = "optional" if field.nullable else "required"
            message = f"must be {column}, is {value} in Parquet"
            yield Finding(
                rule="part_schema", part=part.file, column=name, value=value, message=message
            )


def extra_columns(
    part: Part, schema: pa.Schema, table: PublishedTable, allowed: Mapping[str, str]
) -> Iterator[Finding]:
    """Yields columns beside those of the table that the contract does not allow."""
    for name in schema.names:
        if name in table.columns:
            continue
        kind = schema.field(name).type
        if name not in allowed:
            message = "is no column of the table; a contract may allow it in extra_columns"
            yield Finding(
                rule="extra_column",
                part=part.file,
                column=name,
                value=shown(type_name(kind)),
                message=message,
            )
        elif not is_named(kind, allowed[name]):
            yield _wrong_type("extra_column", part, name, allowed[name], type_name(kind))


def _wrong_type(rule: str, part: Part, column: str, expected: str, found: str) -> Finding:
    return Finding(
        rule=rule,
        part=part.file,
        column=column,
        value=shown(found),
        message=f"must be {expected}, is {found}",
    )
