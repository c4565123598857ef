"""Checkpoints: all that a training needs to go on to the bit, whole or not there.

    <output>/checkpoints/step-00000500/
        rank-00000.pt       of each process: its share of the weights and of AdamW's means, its
                            random state, its place in the data
        checkpoint.json     step, number of processes, identity, SHA-256 of the files

A folder is written beside under a hidden name, flushed to disk, and renamed. One that a broken
disk or a copy cut short is found out by its digests; then the one before is taken.
"""

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sllm_data.errors import TrainingError
from sllm_data.files import TEMPORARY_SUFFIX, writing
from sllm_data.trainer.distributed import Ranks

State = dict[str, Any]  # Any: tensors, numbers and text, nested
_NAME = re.compile(r"step-(\d{8})")
_FACTS = "checkpoint.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """One that was read."""

    step: int
    """How many updates are in it."""
    facts: Mapping[str, Any]  # Any: JSON
    """What was given to `save_checkpoint`."""
    state: State
    """Of this rank."""


def save_checkpoint(
    folder: Path, *, step: int, state: State, facts: Mapping[str, Any], ranks: Ranks, keep: int
) -> None:
    """Writes a checkpoint; all ranks call it. Then only the newest `keep` are left.

    Args:
        folder: Of all checkpoints of a training.
        step: How many updates are done.
        state: Of this rank: tensors on the CPU, plain values.
        facts: JSON, the same on all ranks: what the training is.
        ranks: Who writes.
        keep: How many stay, this one included.

    Raises:
        OutputError: It can't be written.
    """
    final = folder / f"step-{step:08}"
    temporary = folder / f".{final.name}{TEMPORARY_SUFFIX}"
    with writing(final):
        if ranks.is_first:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        ranks.wait()
        digest = _write(temporary / _file_of(ranks.rank), state)
        digests = ranks.gathered(digest)
        if ranks.is_first:
            files = {_file_of(rank): found for rank, found in enumerate(digests)}
            document = {"step": step, "world_size": ranks.world_size, "files": files, **facts}
            _write_text(temporary / _FACTS, json.dumps(document, indent=1) + "\n")
            _flush(temporary)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            _flush(folder)
            for old in _found(folder)[keep:]:
                shutil.rmtree(old)
        ranks.wait()


def newest_checkpoint(
    folder: Path, ranks: Ranks, *, say: Callable[[str], None]
) -> Checkpoint | None:
    """Reads the newest checkpoint that is whole; None where there is none.

    Args:
        folder: Of all checkpoints of a training.
        ranks: Each reads its own file.
        say: Told of each one that is not whole.

    Raises:
        TrainingError: It was written by another number of processes, or none is whole.
    """
    found = _found(folder)
    for path in found:
        broken = "; ".join(filter(None, ranks.gathered(_fault(path, ranks))))
        if not broken:
            facts = _facts(path)
            _refuse_other_ranks(path, facts, ranks)
            state = _read(path / _file_of(ranks.rank))
            return Checkpoint(step=facts["step"], facts=facts, state=state)
        say(f"{path}: the checkpoint is not whole ({broken}); the one before is taken")
    if found:
        raise TrainingError(
            f"{folder}: none of the checkpoints is whole; put back a copy, or delete the folder "
            "to begin anew"
        )
    return None


def facts_of_newest(folder: Path) -> Mapping[str, Any] | None:  # Any: JSON
    """Returns what the newest readable checkpoint says about its training."""
    for path in _found(folder):
        try:
            return _facts(path)
        except ValueError:
            continue
    return None


def _found(folder: Path) -> list[Path]:
    """The checkpoints, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def _read(path: Path) -> State:
    """Reads tensors and plain values; a file that would run code is refused before it does."""
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TrainingError(
            f"{path}: must hold tensors and plain values only, it holds something that would "
            "run code; it was not written by a training: delete the checkpoint"
        ) from error
    return state


def _file_of(rank: int) -> str:
    return f"rank-{rank:05}.pt"


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads((path / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{_FACTS} can't be read") from error
    if not isinstance(facts, dict) or not {"step", "world_size", "files"} <= facts.keys():
        raise ValueError(f"{_FACTS} is not one")
    return facts


def _fault(path: Path, ranks: Ranks) -> str:
    """Returns what is wrong with a checkpoint, as far as this rank sees; empty where nothing."""
    try:
        facts = _facts(path)
    except ValueError as error:
        return str(error)
    if facts["world_size"] != ranks.world_size:
        return ""  # refused later, with a sentence of its own
    name = _file_of(ranks.rank)
    try:
        with (path / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{name}: {error.strerror or error}"
    return "" if digest == facts["files"].get(name) else f"{name} is cut or was changed"


def _refuse_other_ranks(path: Path, facts: Mapping[str, Any], ranks: Ranks) -> None:
    if facts["world_size"] != ranks.world_size:
        raise TrainingError(
            f"{path}: must be gone on with by as many processes as wrote it, "
            f"{facts['world_size']}, not {ranks.world_size}: each has its own place in the data"
        )


def _write(path: Path, state: State) -> str:
    with path.open("w+b") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch closes its archive whatever happened, and hides that the disk was full
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
