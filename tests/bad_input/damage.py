"""What can happen to the files of a dataset between two commands, as in `mistakes`."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.conftest import Command, write_run


def _dataset(here: Path, command: Command, *steps: str) -> Path:
    write_run(here)
    for step in steps:
        said = command(step, "run.yaml")
        assert said.status == 0, said.err
    return here / "out"


def a_part_with_a_foreign_schema(here, command):
    part = _dataset(here, command, "ingest") / "audio/part-00000.parquet"
    pq.write_table(pa.table({"name": ["a"]}), part)
    return ("index", "run.yaml")


def a_part_with_a_cut_footer(here, command):
    part = _dataset(here, command, "ingest") / "audio/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    return ("index", "run.yaml")


def a_part_that_is_gone(here, command):
    part = _dataset(here, command, "ingest") / "audio/part-00000.parquet"
    part.unlink()
    return ("index", "run.yaml")


def a_part_with_a_wrong_checksum(here, command):
    part = _dataset(here, command, "ingest", "index", "plan") / "requests/main/part-00000.parquet"
    column = pq.ParquetFile(part).metadata.row_group(0).column(0)
    content = bytearray(part.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    part.write_bytes(content)
    return ("generate", "run.yaml")


def an_unfinished_part_with_a_foreign_schema(here, command):
    dataset = _dataset(here, command, "ingest", "index")
    (dataset / "manifest/index.json").unlink()
    pq.write_table(pa.table({"name": ["a"]}), dataset / "index/part-00000.parquet")
    return ("index", "run.yaml")


def responses_with_a_foreign_schema_to_reuse(here, command):
    _dataset(here, command, "run")
    shutil.move(here / "out", here / "older")
    pq.write_table(pa.table({"a": [1]}), here / "older/responses/main/part-00000.parquet")
    write_run(here, reuse=["older"])
    return ("run", "run.yaml")


def a_dataset_that_is_none(here, command):
    (here / "older").mkdir()
    return ("stats", "older")


DAMAGE: dict[str, Callable[[Path, Command], Sequence[object]]] = {
    "a part with a foreign schema": a_part_with_a_foreign_schema,
    "a part with a cut footer": a_part_with_a_cut_footer,
    "a part that is gone": a_part_that_is_gone,
    "a part with a wrong checksum": a_part_with_a_wrong_checksum,
    "an unfinished part with a foreign schema": an_unfinished_part_with_a_foreign_schema,
    "responses with a foreign schema to reuse": responses_with_a_foreign_schema_to_reuse,
    "a dataset that is none": a_dataset_that_is_none,
}
