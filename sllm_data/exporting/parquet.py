"""Rows with their sound in Parquet shards that Hugging Face `datasets` and its viewer play.

    data/<stem>-<mark>-00000.parquet   at most rows_per_shard rows, each with what it hears

`datasets` keeps a copy of what it loads under the folder's own name and the names of its files:
the mark keeps it from playing an older export that had the same name.
Sound is not compressed once more, and a row group holds at most 100 rows or 64 MiB: that is
what is in memory. `datasets` finds its features in the footer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.errors import ShardError
from sllm_data.exporting.checking import must
from sllm_data.exporting.layout import Json, Target, sharded
from sllm_data.shards.features import footer_entry

Record = Mapping[str, Any]  # Any: values of a schema

SOUND = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_ROWS_PER_GROUP = 100
_MAX_GROUP_BYTES = 64 * 2**20
_DAMAGE = (pa.ArrowException, OSError)


def write_shards(target: Target, records: Iterable[Record], *, schema: pa.Schema) -> None:
    """Writes rows as shards, as they come.

    Args:
        target: Its folder gets the shards, in `data/`.
        records: Values of the columns; sound in `audio`, one, or `audios`, a list.
        schema: Of every shard.
    """
    data = target.folder / "data"
    data.mkdir()
    schema = schema.with_metadata({"huggingface": footer_entry(schema)})
    # sound does not get smaller
    sound = [name for name in _leaves(schema) if name.endswith(".bytes")]
    others = [name for name in _leaves(schema) if name not in sound]
    for number, shard in sharded(records, target.rows_per_shard):
        path = data / f"{target.stem}-{target.mark}-{number:05d}.parquet"
        with (
            path.open("wb") as file,  # what pyarrow opens itself words a full disk otherwise
            pq.ParquetWriter(
                file,
                schema,
                compression=dict.fromkeys(sound, "none") | dict.fromkeys(others, "zstd"),
                use_dictionary=others,
                write_statistics=others,
                write_page_index=True,
                write_page_checksum=True,
            ) as writer,
        ):
            for group in _groups(shard):
                columns = {
                    field.name: pa.array([row[field.name] for row in group], type=field.type)
                    for field in schema
                }
                writer.write_table(pa.table(columns, schema=schema), row_group_size=len(group))


def front_of(stem: str, mark: str) -> Json:
    """Returns the head of a card by which `datasets` finds the shards."""
    files = [{"split": stem, "path": f"data/{stem}-{mark}-*.parquet"}]
    return {"configs": [{"config_name": "default", "data_files": files}]}


def columns_of(folder: Path, stem: str) -> list[str]:
    """Returns the names of the columns of the first shard.

    Raises:
        ShardError: There is no shard, or it is damaged.
    """
    with _opened(_shards(folder, stem)[0]) as file:
        return list(file.schema_arrow.names)


def read_shards(
    folder: Path, stem: str, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:  # Any: values of the columns
    """Yields where each row stands, and some of its columns.

    Raises:
        ShardError: There is no shard, or one is damaged or lacks a column.
    """
    for path in _shards(folder, stem):
        with _opened(path) as file:
            missing = set(columns) - set(file.schema_arrow.names)
            must(not missing, str(path), f"must have the columns {sorted(missing)}")
            number = 0
            for batch in file.iter_batches(_ROWS_PER_GROUP, columns=list(columns)):
                for row in batch.to_pylist():
                    yield f"{path}: row {number}", row
                    number += 1


def _shards(folder: Path, stem: str) -> list[Path]:
    paths = sorted((folder / "data").glob(f"{stem}-*.parquet"))
    must(paths, f"{folder}/data", f"must have {stem}-*.parquet, there is none")
    return paths


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except _DAMAGE as error:
        what = str(error).partition("\n")[0]
        raise ShardError(f"{path}: must be a whole Parquet file, found: {what}") from error


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for record in records:
        group.append(record)
        size += sum(len(sound["bytes"]) for sound in _sounds(record))
        if len(group) == _ROWS_PER_GROUP or size >= _MAX_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _sounds(record: Record) -> list[dict[str, Any]]:  # Any: bytes and a name
    one = record.get("audio")
    return [one] if one else list(record.get("audios") or ())


def _leaves(schema: pa.Schema) -> list[str]:
    """Names of all leaf columns as Parquet has them."""
    return [name for field in schema for name in _leaves_of(field.type, field.name)]


def _leaves_of(kind: pa.DataType, name: str) -> Iterator[str]:
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves_of(field.type, f"{name}.{field.name}")
    elif pa.types.is_list(kind):
        yield from _leaves_of(kind.value_type, f"{name}.list.element")
    else:
        yield name
