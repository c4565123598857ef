"""Rows of any table from its Arrow types: random ones, and a few that cover each kind."""

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from sllm_data.shards import Table

Row = dict[str, Any]

_TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(["", "\x00", "狐", "a\nb", "é", "🦊"]))


def values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Values of an Arrow type; fields of structs may be missing, as their types allow."""
    if pa.types.is_struct(kind):
        return st.fixed_dictionaries({f.name: st.none() | values(f.type) for f in kind})
    if pa.types.is_list(kind):
        return st.lists(values(kind.value_type), max_size=3)
    if pa.types.is_integer(kind):
        half = 2 ** (kind.bit_width - 1)
        return st.integers(-half, half - 1)
    if pa.types.is_floating(kind):
        return st.floats(allow_nan=False, width=kind.bit_width)
    return {
        pa.string(): _TEXTS,
        pa.binary(): st.binary(max_size=300),
        pa.bool_(): st.booleans(),
    }[kind]


def rows_of(table: Table, *, max_size: int = 6) -> st.SearchStrategy[list[Row]]:
    """Lists of rows of a table, the empty one among them."""
    columns = {
        column.name: st.none() | values(column.type) if column.nullable else values(column.type)
        for column in table.columns
    }
    if table.name == "audio":
        columns["audio"] = st.fixed_dictionaries(
            {"bytes": st.binary(max_size=300), "path": st.none() | _TEXTS}
        )
    return st.lists(st.fixed_dictionaries(columns), max_size=max_size)


def some_rows(table: Table) -> list[Row]:
    """Four rows: values of every column, then whatever may be missing, empty and full lists."""
    return [
        {c.name: _example(c.type, i, missing=c.nullable and i % 2 == 1) for c in table.columns}
        for i in range(4)
    ]


def _example(kind: pa.DataType, i: int, *, missing: bool = False) -> Any:
    if missing:
        return None
    if pa.types.is_struct(kind):
        # the bytes of an audio struct are always there
        return {
            f.name: _example(f.type, i, missing=i == 3 and f.type != pa.binary()) for f in kind
        }
    if pa.types.is_list(kind):
        return [_example(kind.value_type, i)] * i
    if pa.types.is_integer(kind):
        return i - 1
    if pa.types.is_floating(kind):
        return i / 4
    return {
        pa.string(): ("", "狐 🦊", "a\nb", "x")[i],
        pa.binary(): bytes(range(i)),
        pa.bool_(): i % 2 == 0,
    }[kind]
