"""Packs made from a plan, in this process or in the share of one of several workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sllm_data.errors import SllmDataError
from sllm_data.shards.pages import StoredClips
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.data.building import HeardRow, UnheardError, hear_row, pack
from sllm_data.trainer.data.planning import Plan, PlannedRow, Planner, Skip, State
from sllm_data.trainer.kept import Kept, gibibytes

UNDECODABLE = "undecodable"
"""Why a row is left out whose clip can't be heard: each rank counts its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What came of one step's pack."""

    batch: PackedBatch | None
    """None where no clip of the pack can be heard."""
    epoch: int
    """Of its last row."""
    state: State
    """Of the plan, behind this step."""
    skips: tuple[Skip, ...]


def make_packs(
    plan: Plan, *, rank: int, state: State | None, worker: int = 0, num_workers: int = 1
) -> Iterator[Made]:
    """Plans all steps and builds those of a worker's share for one rank.

    Raises:
        SllmDataError: As the planner does.
    """
    planner = Planner(plan, state)
    clips = [StoredClips(entry.path) for entry in plan.config.datasets]
    kept = Kept(gibibytes(plan.config.kept_gib))
    try:
        for number, step in enumerate(planner.rounds()):
            if number % num_workers == worker:
                rows = step.packs[rank]
                batch, unheard = _build(rows, plan, clips, kept)
                yield Made(
                    batch=batch,
                    epoch=max(row.epoch for row in rows),
                    state=step.state,
                    skips=(*step.skips, *unheard),
                )
    finally:
        for each in clips:
            each.close()


def _build(
    rows: Sequence[PlannedRow], plan: Plan, clips: Sequence[StoredClips], kept: Kept
) -> tuple[PackedBatch | None, list[Skip]]:
    heard: list[HeardRow] = []
    skips: list[Skip] = []
    for row in rows:
        dataset = row.address.dataset
        try:
            heard.append(
                hear_row(
                    row.encoded,
                    bytes_of=clips[dataset].bytes_of,
                    geometry=plan.geometry,
                    dataset=dataset,
                    kept=kept,
                )
            )
        except UnheardError as error:
            skips.append(Skip(UNDECODABLE, f"{row.encoded.sample_id}: {error}"))
    return (pack(heard) if heard else None), skips


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker gave up: a sentence for the user, or a bug with its traceback."""

    error: SllmDataError | None
    traceback: str = ""
