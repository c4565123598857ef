"""A small dataset beside the real one: the same steps over utterances that are drawn by hash.

The corpora are listed whole (or the candidates taken that the dataset has), so `sample`,
`limit`, `weight` and repeated ids are exact; what comes after is made of the sampled
utterances and scaled. Where the dataset has its index, the rows of that are taken instead, so
that duplicates, splits and quotas are exact too. Nothing is written into the real dataset.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sllm_data.alignment.config import AlignmentConfig
from sllm_data.config import RunConfig
from sllm_data.errors import CorpusError
from sllm_data.runners import RunnerConfig
from sllm_data.seeding import uniform
from sllm_data.shards import TABLES, part_name, read_part, write_part
from sllm_data.shards.database import parquet
from sllm_data.steps.database import open_database
from sllm_data.steps.dataset import Dataset, run_identity
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.index import index
from sllm_data.steps.ingest import ingest
from sllm_data.steps.listing import list_candidates
from sllm_data.steps.parts import Records, Step, StepReport, finish_parts, write_rejections
from sllm_data.steps.preflight import check_inputs, check_working_folder
from sllm_data.steps.progress import Progress

Row = dict[str, Any]  # Any: values of one of the tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """The small dataset, up to its index."""

    dataset: Dataset
    """All in one part."""
    audio_ids: tuple[str, ...]
    """Of the utterances that were drawn, whatever became of them."""
    population: int
    """What they were drawn from."""
    audio_bytes: Mapping[str, float]
    """Of each clip that is stored; the mean of all where they are stored already."""
    reports: tuple[StepReport, ...]
    """Of the steps that were run."""


@dataclass(frozen=True, order=True, slots=True)
class _Ticket:
    hash: float
    audio_id: str
    part: Path


def sample_dataset(real: Dataset, folder: Path, progress: Progress) -> Sampled:
    """Makes the small dataset of a real one, which need not be there yet.

    Args:
        real: The dataset; only read.
        folder: An empty one for everything that is made.
        progress: Where to show bars.

    Raises:
        SllmDataError: What the steps raise, but for too many rejections.
    """
    count = real.config.budget.sample
    small = _beside(real.config, folder / "dataset", part_size=count)
    check_working_folder()
    check_inputs(small.config)
    if _is_finished(real, "index"):
        return _of_index(real, small, count)
    reports: list[StepReport] = []
    listing = real
    if not _is_finished(real, "candidates"):
        listing = _beside(real.config, folder / "listing", part_size=real.config.part_size)
        reports.append(list_candidates(listing))
    names = sorted(listing.root.glob("candidates/part-*.parquet"))
    drawn, population = _drawn(names, count, seed=real.config.seed)
    if not population:
        raise CorpusError(f"{real.root}: no utterance must be forecast, none is listed")
    _write(small, "candidates", (), {"candidates": _rows(drawn)})
    reports.append(ingest(small, progress))
    reports.append(index(small))
    return Sampled(
        dataset=small,
        audio_ids=tuple(ticket.audio_id for ticket in drawn),
        population=population,
        audio_bytes=_audio_bytes(small),
        reports=tuple(reports),
    )


def _beside(config: RunConfig, folder: Path, *, part_size: int) -> Dataset:
    """A dataset of the same configuration elsewhere; clips stay whole, and nothing is aligned."""
    reuse = config.reuse
    if any(config.output.glob("responses/*/part-*.parquet")):
        reuse = (config.output, *reuse)
    changed = config.model_copy(
        update={
            "output": folder,
            "part_size": part_size,
            "reuse": reuse,
            "runner": RunnerConfig(kind="serial"),
            "max_rejected_fraction": 1.0,
            "alignment": AlignmentConfig(),
            "interleave": config.interleave.model_copy(update={"chance": 0.0}),
            "tasks": {
                name: task.model_copy(update={"supervision": "answer"})
                for name, task in config.tasks.items()
            },
        }
    )
    return Dataset(root=folder, config=changed, extensions=(run_identity(changed),))


def _is_finished(dataset: Dataset, step: str) -> bool:
    """Whether a step is done as it is configured now."""
    manifest = dataset.manifest(step)
    return (
        manifest is not None
        and manifest.extension == dataset.extension
        and manifest.identity == expected_identity(dataset, step)
    )


def _drawn(parts: Iterable[Path], count: int, *, seed: int) -> tuple[list[_Ticket], int]:
    """Draws utterances by hash, in the order of the parts, and counts all."""
    best: list[_Ticket] = []
    population = 0
    for part in parts:
        audio_ids = read_part(part, ["audio_id"]).column("audio_id").to_pylist()
        population += len(audio_ids)
        fresh = [_Ticket(uniform(seed, "forecast", each), each, part) for each in audio_ids]
        best = nsmallest(count, [*best, *fresh])
    return sorted(best, key=lambda ticket: (ticket.part, ticket.audio_id)), population


def _rows(drawn: Sequence[_Ticket], columns: list[str] | None = None) -> Iterator[Row]:
    """The rows of what was drawn, in the order of the parts."""
    by_part: dict[Path, list[str]] = {}
    for ticket in drawn:
        by_part.setdefault(ticket.part, []).append(ticket.audio_id)
    for part, audio_ids in by_part.items():
        table = read_part(part, columns)
        wanted = pc.is_in(table.column("audio_id"), value_set=pa.array(audio_ids))
        yield from table.filter(wanted).to_pylist()


def _write(
    small: Dataset,
    name: str,
    inputs: tuple[str, ...],
    tables: Mapping[str, Iterable[Row]],
    extra: Mapping[str, str] | None = None,
) -> None:
    """Writes the one part of a step, and its manifest."""
    step = Step(
        name=name,
        folders=(f"rejections/{name}", *tables),
        identity=expected_identity(small, name),
        inputs=inputs,
    )

    def make(_: Sequence[int]) -> Iterator[Records]:
        yield (
            write_rejections(small.root, step, 0, ()),
            *(
                write_part(
                    small.root,
                    f"{table}/{part_name(0)}",
                    rows,
                    table=TABLES[table],
                    identity=step.identity,
                )
                for table, rows in tables.items()
            ),
        )

    finish_parts(small, step, range(1), make, extra=lambda _: extra or {})


def _of_index(real: Dataset, small: Dataset, count: int) -> Sampled:
    """Takes clips and tasks as they are, without the sound."""
    index_of: dict[int, list[int]] = {}
    for position, of_audio in real.finished("index").extra.items():
        index_of.setdefault(int(of_audio), []).append(int(position))
    parts = {number: real.part("audio", number) for number in sorted(index_of)}
    drawn, population = _drawn(parts.values(), count, seed=real.config.seed)
    given: dict[str, Row] = {}
    for number, part in parts.items():
        own = [ticket for ticket in drawn if ticket.part == part]
        for place in sorted(index_of[number]):
            moved = [replace(ticket, part=real.part("index", place)) for ticket in own]
            for row in _rows(moved):
                given[row["audio_id"]] = _with_tasks(given.get(row["audio_id"]), row)
    columns = list(TABLES["audio"].names(without=("audio",)))
    silent = (row | {"audio": {"bytes": b"", "path": ""}} for row in _rows(drawn, columns))
    _write(small, "ingest", (), {"audio": silent})
    kept = (given[ticket.audio_id] for ticket in drawn)
    _write(small, "index", ("ingest",), {"index": kept}, {"0": "0"})
    stored = sum(
        record.bytes for record in real.finished("ingest").parts if "audio/" in record.file
    )
    return Sampled(
        dataset=small,
        audio_ids=tuple(ticket.audio_id for ticket in drawn),
        population=population,
        audio_bytes={ticket.audio_id: stored / population for ticket in drawn},
        reports=(),
    )


def _with_tasks(before: Row | None, row: Row) -> Row:
    """An index row in the small dataset, with the tasks of an earlier one over the same clip."""
    tasks = [*(before["tasks"] if before else ()), *row["tasks"]]
    kept = row["kept"] or (before is not None and before["kept"])
    return row | {"audio_part": 0, "kept": kept, "tasks": tasks}


def _audio_bytes(small: Dataset) -> dict[str, float]:
    audio = parquet([small.part("audio", 0)])
    with open_database(small.work) as database:
        found = database.execute(f"SELECT audio_id, octet_length(audio.bytes) FROM {audio}")
        return dict(found.fetchall())
