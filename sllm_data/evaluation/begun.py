"""Answers of an evaluation that has not ended: written as they come, and not asked for again.

    <output>/answers.begun.jsonl
        {"model": ..., "dataset": ..., ...}              what is asked of whom
        {"predictions": [...], "written_down": [...]}    what a side answered to a pack of rows

A line counts where it is whole. Rows come in packs that are the same each time, since what is
computed at once decides the last bits of a loss; so an answer is found again by the ids of its
pack. Answers to another question are not mixed with these: the file begins anew.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from sllm_data.documents import differences
from sllm_data.evaluation.predictions import Prediction
from sllm_data.files import is_file, writing

BEGUN = "answers.begun.jsonl"

Facts = Mapping[str, Any]  # Any: JSON


class Answers(NamedTuple):
    """What a side answered to the rows of a pack."""

    predictions: list[Prediction]
    """In the order of the rows."""
    written_down: list[list[str]]
    """By the transcriber of a cascade: of each row, its utterances; else of none."""


class Begun:
    """Answers that are there, and a place for those to come; `answers_begun` makes one."""

    def __init__(self, path: Path, found: Sequence[Answers]) -> None:
        """Takes a file, and what stands in it."""
        self._path = path
        self._found = {_key(each): each for each in found}

    def find(self, side: str, sample_ids: Sequence[str]) -> Answers | None:
        """Returns what a side answered to these rows, computed at once; None if it did not."""
        return self._found.get((side, *sample_ids))

    def add(self, answers: Answers) -> None:
        """Writes answers behind the others, to the disk.

        Raises:
            OutputError: They can't be written.
        """
        rows = [asdict(each) for each in answers.predictions]
        _append(self._path, {"predictions": rows, "written_down": answers.written_down})


def answers_begun(path: Path, facts: Facts, *, say: Callable[[str], None]) -> Begun:
    """Opens the answers of an evaluation; the caller holds the lock of their folder.

    Args:
        path: The file, made where it is not there.
        facts: JSON: all that an answer depends on.
        say: Told how many answers are there, or that they were given to something else.

    Raises:
        OutputError: The file can't be read or written.
    """
    with writing(path):
        stored, found, size = _read(path)
    num = sum(len(each.predictions) for each in found)
    if changed := differences(stored or {}, dict(facts)):
        if num:
            say(
                f"{path}: {num:,} answers that were begun with are dropped, since they are of "
                f"another evaluation: {'; '.join(changed)}"
            )
        with writing(path):
            path.unlink(missing_ok=True)
        _append(path, facts)
        return Begun(path, [])
    with writing(path):
        os.truncate(path, size)  # a line that was cut goes
    if num:
        say(f"{num:,} answers were given before, and are not asked for again")
    return Begun(path, found)


def _key(answers: Answers) -> tuple[str, ...]:
    return (answers.predictions[0].side, *(each.sample_id for each in answers.predictions))


def _append(path: Path, line: Facts) -> None:
    with writing(path), path.open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> tuple[Facts | None, list[Answers], int]:
    """Returns what the answers are of, those that are whole, and how many bytes these take."""
    facts: Facts | None = None
    found: list[Answers] = []
    size = 0
    if not is_file(path):
        return facts, found, size
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                document = json.loads(line)
                if facts is None:
                    facts = dict(document)
                else:
                    rows = [Prediction(**row) for row in document["predictions"]]
                    if not rows:
                        break  # of another form: each line has some
                    found.append(Answers(rows, document["written_down"]))
            except (ValueError, TypeError, KeyError):
                break  # a power cut tore it; what may stand behind it is asked for again
            size += len(line)
    return facts, found, size
