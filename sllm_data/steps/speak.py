"""Writes corpora of the small spoken world: block by block, in several processes, resumable.

`speech.json` in the folder says what was asked for, and in the end how much there is. While
blocks are missing, the receipts of those that are there lie in `.receipts/`. So a run that was
stopped goes on where it was, and a folder that holds something else is refused.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sllm_data.errors import OutputError
from sllm_data.files import output_lock, write_text, writing
from sllm_data.runners import RunnerConfig, map_parts
from sllm_data.steps.progress import Progress
from sllm_data.testbed.layouts import Amount, Block, Receipt
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.spoken_world import WorldCorpus, finish_world, world_blocks
from sllm_data.testbed.voices import WORLD_VOICES

_NOTE = "speech.json"
_RECEIPTS = ".receipts"
_LOCK = ".lock"
_BATCH = 512  # blocks that are known at a time: 14 hours of speech

_Job = tuple[Path, int, Block]
_Item = TypeVar("_Item")


def speak_world(
    folder: Path, corpus: WorldCorpus, runner: RunnerConfig, progress: Progress
) -> dict[str, Amount]:
    """Writes a corpus, or what is missing of it; returns how much each subset holds.

    The same corpus gives the same bytes, however many processes write it.

    Raises:
        ModelError: espeak-ng's library or data is missing or broken.
        OutputError: The folder can't be written, is in use, or holds something else.
    """
    # says at once where espeak-ng is missing or can't be loaded
    Synthesizer().speak("hello", voice=WORLD_VOICES[0].name)
    with output_lock(folder):
        amounts = _amounts_there(folder, corpus)
        if amounts is None:
            _note(folder, corpus, None)
            num_blocks = _write_blocks(folder, corpus, runner, progress)
            amounts = finish_world(folder, corpus, _receipts(folder, num_blocks))
            _note(folder, corpus, amounts)
        with writing(folder):
            if (folder / _RECEIPTS).is_dir():
                shutil.rmtree(folder / _RECEIPTS)
    return amounts


def _write_blocks(
    folder: Path, corpus: WorldCorpus, runner: RunnerConfig, progress: Progress
) -> int:
    """Writes all blocks that are missing; returns how many blocks the corpus has."""
    num_blocks, spoken_s = 0, 0.0
    with progress.bar("seconds of speech", round(corpus.hours * 3600)) as bar:
        for blocks in _batched(world_blocks(corpus)):
            jobs = [(folder, num_blocks + k, block) for k, block in enumerate(blocks)]
            num_blocks += len(jobs)
            for duration_s in map_parts(_write, jobs, runner):
                bar.advance(round(spoken_s + duration_s) - round(spoken_s))
                spoken_s += duration_s
    return num_blocks


def _write(job: _Job) -> float:
    """Writes one block unless it is there; returns the seconds of its audio."""
    folder, number, block = job
    path = _receipt_path(folder, number)
    if path.is_file():
        return _receipt(path).duration_s
    receipt = block.write(folder)
    write_text(path, json.dumps(receipt.as_json()))
    return receipt.duration_s


def _receipts(folder: Path, num_blocks: int) -> Iterator[Receipt]:
    return (_receipt(_receipt_path(folder, number)) for number in range(num_blocks))


def _receipt(path: Path) -> Receipt:
    return Receipt(**json.loads(path.read_text(encoding="utf-8")))


def _receipt_path(folder: Path, number: int) -> Path:
    return folder / _RECEIPTS / f"{number // 1000:04}" / f"{number:07}.json"


def _amounts_there(folder: Path, corpus: WorldCorpus) -> dict[str, Amount] | None:
    """Returns what the folder holds where it is finished, None where work is left.

    Raises:
        OutputError: It holds something else.
    """
    note = folder / _NOTE
    if not note.is_file():
        if any(path.name != _LOCK for path in folder.iterdir()):
            raise OutputError(
                f"{folder}: must be empty or hold a corpus that `testbed speak` began, found "
                f"other files and no {_NOTE}; choose another folder"
            )
        return None
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        asked: dict[str, object] = found["asked"]
        amounts: dict[str, dict[str, Any]] = found["written"] or {}  # Any: JSON
        written = {name: Amount(**amount) for name, amount in amounts.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{note}: must be what `testbed speak` wrote, found something else; choose another "
            "folder"
        ) from error
    if asked != asdict(corpus):
        different = [
            f"{k} {asked.get(k)!r}" for k, v in asdict(corpus).items() if asked.get(k) != v
        ]
        raise OutputError(
            f"{folder}: must hold the corpus that is asked for, found one with "
            f"{', '.join(different)}; choose another folder"
        )
    return written or None


def _note(folder: Path, corpus: WorldCorpus, amounts: dict[str, Amount] | None) -> None:
    written = None if amounts is None else {k: asdict(amount) for k, amount in amounts.items()}
    note = {"asked": asdict(corpus), "written": written}
    write_text(folder / _NOTE, json.dumps(note, indent=2) + "\n")


def _batched(items: Iterator[_Item]) -> Iterator[Sequence[_Item]]:
    while batch := list(islice(items, _BATCH)):
        yield batch
