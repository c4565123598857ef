"""What can go wrong with a dataset between two commands, as in `mistakes`."""

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


def an_export_to_a_folder_with_something_in_it(here, command):
    _dataset(here, command, "run")
    (here / "copy").mkdir()
    (here / "copy/notes").touch()
    return ("export", "out", "copy", "--format", "nemo")


def an_export_in_a_layout_that_is_none(here, command):
    _dataset(here, command, "run")
    return ("export", "out", "copy", "--format", "nemos")


def an_export_of_what_the_layout_can_not_hold(here, command):
    tasks = ("repetition", "intent", "sentiment", "keywords", "translation", "continuation")
    write_run(here, tasks={task: {"max_tokens": 2} for task in tasks})
    said = command("run", "run.yaml")
    assert said.status == 0, said.err
    return ("export", "out", "copy", "--format", "salmonn")


def an_export_of_rows_that_are_not_there(here, command):
    _dataset(here, command, "run")
    return ("export", "out", "copy", "--format", "nemo", "--task", "poetry")


def an_export_of_no_dataset(here, command):
    (here / "older").mkdir()
    return ("export", "older", "copy", "--format", "nemo")


DAMAGE: dict[str, Callable[[Path, Command], Sequence[object]]] = {
    "a part with a foreign schema": a_part_with_a_foreign_schema,
    "a part with a cut footer": a_part_with_a_cut_footer,
    "a part that is gone": a_part_that_is_gone,
    "a part with a wrong checksum": a_part_with_a_wrong_checksum,
    "an unfinished part with a foreign schema": an_unfinished_part_with_a_foreign_schema,
    "responses with a foreign schema to reuse": responses_with_a_foreign_schema_to_reuse,
    "a dataset that is none": a_dataset_that_is_none,
    "an export to a folder with something in it": an_export_to_a_folder_with_something_in_it,
    "an export in a layout that is none": an_export_in_a_layout_that_is_none,
    "an export of what the layout can not hold": an_export_of_what_the_layout_can_not_hold,
    "an export of rows that are not there": an_export_of_rows_that_are_not_there,
    "an export of no dataset": an_export_of_no_dataset,
}
