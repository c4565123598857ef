"""The plan: which rows stand in which pack of which step, from lengths alone, for ever.

    epoch    all parts of all datasets, in seeded order; a part once for each time that its
             rows are wanted, so that repetitions of a row stand far apart
    block    the next `shuffle_window` rows of these parts, in seeded order
    round    `world_size` packs out of the blocks: one for each rank

Every process makes the whole plan for itself and builds only its own packs, so that nobody has
to tell anybody anything: no row is in two packs of an epoch, all ranks make as many steps, and
the number of workers changes nothing. Where it stands is told by the place where the current
block begins, how many of its rows are used up, and the addresses of the few rows that wait for
a pack: a state of some kilobytes, whatever the size of the data. It is the same on all ranks.

Cost: a row is read and tokenised by every worker of every rank; see benchmarks/bench_loader.py.
Memory: one block of token ids, and one part of `samples/`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

from sllm_data.chat import ChatRenderer
from sllm_data.errors import ConfigError, ModelError
from sllm_data.seeding import hash128, rng_for, uniform
from sllm_data.trainer.data.config import DataConfig
from sllm_data.trainer.data.encoding import EncodedRow, EncodedText, UnusableRowError, encode_rows
from sllm_data.trainer.data.packing import split_to, take_pack
from sllm_data.trainer.data.reading import Address, Dataset, MalformedRow, Row
from sllm_data.trainer.geometry import AudioGeometry

_BATCH = 256  # rows that are tokenised at once

State = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Skip:
    """A row that is left out."""

    reason: str
    name: str


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row with its address and the epoch it is of."""

    address: Address
    epoch: int
    encoded: EncodedRow

    sizes: tuple[int, int]
    """Positions of the side that hears, and of its twin; 0 where there is no twin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One step of all ranks."""

    packs: tuple[tuple[PlannedRow, ...], ...]
    """One for each rank."""
    state: State
    """With which the plan goes on behind this round."""
    skips: tuple[Skip, ...]
    """Rows that were left out since the round before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that a plan depends on; can be sent to other processes."""

    config: DataConfig
    renderer: ChatRenderer
    geometry: AudioGeometry
    seed: int
    world_size: int = 1
    twins: bool = False
    epochs: int | None = None
    """How often the rows are seen; for ever where None."""


@dataclass(slots=True)
class _Place:
    """Where the current block begins, and how much of it is used up."""

    epoch: int = 0
    unit: int = 0
    row: int = 0
    block: int = 0
    taken: int = 0


class Planner:
    """Makes the rounds of a plan, from its beginning or from where a state says."""

    def __init__(self, plan: Plan, state: State | None = None) -> None:
        """Opens the datasets.

        Raises:
            ShardError: A dataset can't be used.
            ConfigError: A task is asked for that a dataset doesn't have.
        """
        self._plan = plan
        self._datasets = [Dataset(e, number=n) for n, e in enumerate(plan.config.datasets)]
        self._skips: list[Skip] = []
        self._place = _Place(**state["place"]) if state else _Place()
        self._next = replace(self._place)  # where the block behind the current one begins
        self._units = lru_cache(maxsize=1)(self._units_of)
        self._rows: Iterator[Row | MalformedRow] | None = None  # of the unit, from `row` on
        self._pool: list[PlannedRow] = []
        self._block: list[PlannedRow] = []
        if state:
            self._pool = self._again(state["pool"])
            self._load_block()
            self._skips.clear()  # they were told before the state was
        self._found_in_epoch = bool(self._block)

    def rounds(self) -> Iterator[Round]:
        """Yields round after round.

        Raises:
            ShardError: A part can't be read.
            ModelError: Rows were made for another chat template, or their roles are refused.
            ConfigError: An epoch has no row that can be used.
        """
        world_size, budget = self._plan.world_size, self._plan.config.budget
        while True:
            packs: list[list[PlannedRow]] = []
            for _ in range(world_size):
                pack = take_pack(self._pool, refill=self._refill, budget=budget)
                if pack:
                    packs.append(pack)
            if not packs:
                return
            packs = split_to(packs, world_size)
            packs += [[_unlabelled(packs[0][0])]] * (world_size - len(packs))
            skips, self._skips = tuple(self._skips), []
            yield Round(packs=tuple(map(tuple, packs)), state=self._state(), skips=skips)

    def _state(self) -> State:
        place = self._place
        return {
            "place": {name: getattr(place, name) for name in _Place.__dataclass_fields__},
            "pool": [[*row.address, row.epoch] for row in self._pool],
        }

    def _refill(self) -> None:
        while len(self._pool) < self._plan.config.lookahead:
            if self._place.taken == len(self._block) and not self._next_block():
                return
            self._pool.append(self._block[self._place.taken])
            self._place.taken += 1

    def _next_block(self) -> bool:
        """Goes on to the next block that has rows; False at the end of the last epoch."""
        while self._plan.epochs is None or self._next.epoch < self._plan.epochs:
            self._place = replace(self._next, taken=0)
            self._load_block()
            self._found_in_epoch = self._found_in_epoch or bool(self._block)
            if self._next.epoch > self._place.epoch:
                self._check_epoch()
                self._found_in_epoch = False
            if self._block:
                return True
        return False

    def _check_epoch(self) -> None:
        if not self._found_in_epoch:
            paths = ", ".join(str(entry.path) for entry in self._plan.config.datasets)
            why = f"; the first that was left out: {self._skips[0]}" if self._skips else ""
            raise ConfigError(
                f"{paths}: must have rows to train on, has none of this split, group, task and "
                f"kind that fits the budget of {self._plan.config.budget} positions{why}"
            )

    def _load_block(self) -> None:
        """Reads the block that begins at `_place`, and finds where the next one begins."""
        plan, place = self._plan, self._place
        units = self._units(place.epoch)
        block: list[PlannedRow] = []
        unit, row = place.unit, place.row
        while unit < len(units) and len(block) < plan.config.shuffle_window:
            if self._rows is None:
                dataset, part, _ = units[unit]
                self._rows = islice(self._datasets[dataset].rows(part), row, None)
            num = min(_BATCH, plan.config.shuffle_window - len(block))
            rows = list(islice(self._rows, num))
            block += self._encode(rows, epoch=place.epoch, times=units[unit][2])
            row += len(rows)
            if len(rows) < num:
                self._rows, unit, row = None, unit + 1, 0
        rng_for(plan.seed, "pack-block", place.epoch, place.block).shuffle(block)
        self._block = block
        if unit < len(units):
            self._next = _Place(epoch=place.epoch, unit=unit, row=row, block=place.block + 1)
        else:
            self._next = _Place(epoch=place.epoch + 1)

    def _units_of(self, epoch: int) -> list[tuple[int, int, int]]:
        """Returns (dataset, part, how manyeth time) of an epoch, in its order."""
        units = [
            (number, part, times)
            for number, dataset in enumerate(self._datasets)
            for part in dataset.parts
            for times in range(_most_times(dataset))
        ]
        return sorted(units, key=lambda unit: hash128(self._plan.seed, "pack-unit", epoch, *unit))

    def _encode(
        self, rows: Sequence[Row | MalformedRow], *, epoch: int, times: int
    ) -> Iterator[PlannedRow]:
        """Encodes the rows of one unit that are wanted, and notes those that can't be used."""
        wanted: list[Row] = []
        for row in rows:
            if isinstance(row, MalformedRow):
                self._skips.append(Skip("malformed", f"{row.sample_id}: {row.reason}"))
            elif self._is_wanted(row, epoch=epoch, times=times):
                check_template(row, self._datasets[row.address.dataset], self._plan.renderer)
                wanted.append(row)
        if not wanted:
            return
        plan = self._plan
        dataset = self._datasets[wanted[0].address.dataset]
        encoded = encode_rows(
            wanted,
            renderer=plan.renderer,
            geometry=plan.geometry,
            facts_of=dataset.facts,
            twins=plan.twins,
            read=[self._is_read(row, epoch=epoch) for row in wanted],
        )
        for row, found in zip(wanted, encoded, strict=True):
            if isinstance(found, UnusableRowError):
                self._skips.append(Skip(str(found), row.sample_id))
                continue
            sizes = len(found.text), 0 if found.twin is None else len(found.twin)
            if max(sizes) > plan.config.budget:
                name = f"{row.sample_id} of {max(sizes)} positions"
                self._skips.append(Skip("longer_than_budget", name))
                continue
            yield PlannedRow(row.address, epoch, found, sizes)

    def _is_wanted(self, row: Row, *, epoch: int, times: int) -> bool:
        weight = _weight(self._datasets[row.address.dataset], row)
        whole = math.floor(weight)
        if times != whole:
            return times < whole
        chance = uniform(self._plan.seed, "pack-weight", epoch, *row.address[:1], row.sample_id)
        return chance < weight - whole

    def _is_read(self, row: Row, *, epoch: int) -> bool:
        share = self._plan.config.text_share
        return share > 0 and share > uniform(self._plan.seed, "pack-read", epoch, row.sample_id)

    def _again(self, addresses: Sequence[Sequence[int]]) -> list[PlannedRow]:
        """Reads rows again by their addresses, in this order."""
        wanted: dict[tuple[int, int, int], set[int]] = {}
        for dataset, part, row, epoch in addresses:
            wanted.setdefault((dataset, part, epoch), set()).add(row)
        found: dict[tuple[Address, int], PlannedRow] = {}
        for (dataset, part, epoch), numbers in wanted.items():
            rows = [
                row for row in self._datasets[dataset].rows(part) if row.address.row in numbers
            ]
            for planned in self._encode(rows, epoch=epoch, times=-1):
                found[planned.address, epoch] = planned
        return [found[Address(d, p, r), epoch] for d, p, r, epoch in addresses]


def check_template(row: Row, dataset: Dataset, renderer: ChatRenderer) -> None:
    """Compares the chat template by which a row was answered with the LLM's.

    Raises:
        ModelError: They differ, and the configuration does not allow it.
    """
    ours, found = renderer.chat_template_sha256, row.chat_template_sha256
    if found not in ("", ours) and not dataset.entry.allow_other_template:
        raise ModelError(
            f"{dataset.root}: {row.sample_id} must have been answered by way of the LLM's chat "
            f"template {ours[:12]}, was by way of {found[:12]}; train the model that answered, "
            "with model.llm.template_kwargs and model.llm.chat_template of its run, or set "
            "allow_other_template"
        )


def _weight(dataset: Dataset, row: Row) -> float:
    entry, weights = dataset.entry, dataset.entry.weights
    return (
        entry.weight
        * weights.tasks.get(row.task, 1.0)
        * weights.kinds.get(row.kind, 1.0)
        * weights.corpora.get(row.corpus, 1.0)
    )


def _most_times(dataset: Dataset) -> int:
    most = dataset.entry.weight
    for weights in (
        dataset.entry.weights.tasks,
        dataset.entry.weights.kinds,
        dataset.entry.weights.corpora,
    ):
        most *= max(1.0, *weights.values(), 1.0)
    return math.ceil(most)


def _unlabelled(row: PlannedRow) -> PlannedRow:
    """Returns a row that trains nothing, for a rank that is left without one."""

    def without(text: EncodedText) -> EncodedText:
        return replace(text, labels=text.labels[:0], label_positions=text.label_positions[:0])

    encoded = row.encoded
    twin = None if encoded.twin is None else without(encoded.twin)
    return replace(row, encoded=replace(encoded, text=without(encoded.text), twin=twin))
