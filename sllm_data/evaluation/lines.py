"""Records as files of JSON lines: written whole or not at all, read with a sentence for each flaw.

Answers are such files, and so is what is measured beside them.
"""

import codecs
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from sllm_data.corpora.lines import OVERLONG, numbered_lines
from sllm_data.errors import ShardError
from sllm_data.files import atomic_path

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def write_lines(path: Path, records: "Iterable[DataclassInstance]") -> int:
    """Writes records as JSON lines, whole or not at all; returns how many.

    Raises:
        OutputError: The folder can't be written.
    """
    num = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(asdict(record)) + "\n")
            num += 1
    return num


def numbered_json(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the lines of a file that are not empty, with their numbers.

    Raises:
        ShardError: The file can't be read, or a line is too long.
    """
    try:
        with path.open("rb") as file:
            for number, line in numbered_lines(file):
                if line is None:
                    raise ShardError(f"{path}, line {number}: {OVERLONG}; remove it")
                content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if content.strip():
                    yield number, content
    except OSError as error:
        raise ShardError(
            f"{path}: must be a file of predictions, can't be read: {error.strerror or error}"
        ) from error


def parsed_line(
    reader: TypeAdapter[T], path: Path, number: int, line: bytes, *, what: str = "prediction"
) -> T:
    """Returns what a line says; `what` it is, for the sentence of an error.

    Raises:
        ShardError: It is broken.
    """
    try:
        return reader.validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        why = first["msg"].removeprefix("Value error, ")
        raise ShardError(
            f"{path}, line {number}: must be the JSON of one {what}, {where}: {why}; "
            "mend or remove the line"
        ) from error


def check_answered(where: str, rows: Iterable[str], known: Collection[str]) -> None:
    """Compares the rows of a file with those of the predictions beside it.

    Args:
        where: The file, and the line where it has some.
        rows: What was measured.
        known: What was asked.

    Raises:
        ShardError: One was not asked.
    """
    for row in rows:
        if row not in known:
            raise ShardError(
                f"{where}: must be of a row of the predictions beside it, {row!r} is none; "
                "remove the file if it is of another evaluation"
            )
