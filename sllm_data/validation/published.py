"""The published schema that parts are judged against: schema.json, or the shipped tables.

A type is judged by what a reader gets: `string`, `large_string`, `string_view` and a
dictionary of strings are one type, and so are the kinds of lists. Widths of numbers count,
and so do the names and order of a struct's fields.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sllm_data.errors import ShardError
from sllm_data.shards import SCHEMA_VERSION, TABLES
from sllm_data.shards.schema import as_json

FILE_NAME = "schema.json"

_LIST_ITEM = re.compile(r"list<\w+: ")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedColumn:
    """One column as schema.json describes it."""

    type: str
    """As `type_name` gives it."""
    nullable: bool

    def __str__(self) -> str:
        """The type, and whether a value may be missing."""
        return f"{self.type}, may be missing" if self.nullable else f"{self.type}, never missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedTable:
    """One table as schema.json describes it."""

    key: str
    columns: Mapping[str, PublishedColumn]


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A whole schema.json."""

    version: int
    tables: Mapping[str, PublishedTable]


def shipped() -> Published:
    """Returns the schema of this version of the package."""
    return _published(
        {
            "schema_version": SCHEMA_VERSION,
            "tables": {name: as_json(table) for name, table in TABLES.items()},
        }
    )


def read_published(path: Path) -> Published:
    """Reads a schema.json.

    Raises:
        ShardError: It can't be read as one, or its version is newer than this package's.
    """
    try:
        published = _published(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ShardError(f"{path}: can't be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ShardError(
            f"{path}: must be the schema.json of a dataset (schema_version and tables), found "
            f"{type(error).__name__}: {error}"
        ) from error
    for name, table in published.tables.items():
        if table.key not in table.columns:
            raise ShardError(f"{path}: tables.{name}.key must be a column, got {table.key!r}")
    if published.version > SCHEMA_VERSION:
        raise ShardError(
            f"{path}: has schema version {published.version}, this sllm-data reads up to "
            f"{SCHEMA_VERSION}; update sllm-data"
        )
    return published


def _published(document: Mapping[str, Any]) -> Published:  # Any: JSON
    return Published(
        version=int(document["schema_version"]),
        tables={
            str(name): PublishedTable(
                key=str(table["key"]),
                columns={
                    str(column["name"]): PublishedColumn(
                        type=_LIST_ITEM.sub("list<", str(column["type"])),
                        nullable=bool(column["nullable"]),
                    )
                    for column in table["columns"]
                },
            )
            for name, table in document["tables"].items()
        },
    )


def differences(published: Published, shipped: Published) -> Iterator[tuple[str, str, str]]:
    """Yields table, column and sentence where a schema is not what its version published.

    A schema of an older version may lack columns that may be missing, and fields of structs.
    """
    for name, table in shipped.tables.items():
        there = published.tables.get(name)
        if there is None:
            if published.version == shipped.version:
                yield name, "", "the table must be published, is not"
            continue
        if there.key != table.key:
            yield name, there.key, f"the key must be {table.key}"
        for column, expected in table.columns.items():
            found = there.columns.get(column)
            if found is None:
                if published.version == shipped.version or not expected.nullable:
                    yield name, column, "the column must be published, is not"
            elif found != expected and not (
                published.version < shipped.version
                and expected.type.startswith(found.type.rstrip(">"))
            ):
                yield name, column, f"must be {expected}, found {found}"
        for column in there.columns.keys() - table.columns.keys():
            yield name, column, f"schema version {published.version} has no such column"


@functools.lru_cache(maxsize=4096)  # the parts of a table have the same types
def type_name(kind: pa.DataType) -> str:
    """Returns the name of an Arrow type by what a reader gets from it.

    >>> type_name(pa.large_list(pa.dictionary(pa.int32(), pa.string())))
    'list<string>'
    """
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {type_name(field.type)}' for field in kind)}>"
    if _is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "binary"
    return str(kind)


def is_named(kind: pa.DataType, name: str) -> bool:
    """Whether an Arrow type is what a contract calls by this name: `int` is any integer."""
    match name:
        case "int":
            return bool(pa.types.is_integer(kind))
        case "float":
            return bool(pa.types.is_floating(kind))
        case _:
            alias = pa.type_for_alias(name)
            return type_name(kind) == type_name(alias)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )
