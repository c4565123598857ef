"""The stream of packs that a training runs on, and where it stands.

stream = open_packs(config, renderer=renderer, geometry=model.geometry, seed=1)
for batch in stream:
    ...
    state = stream.state()  # JSON; of the last pack handed out, whatever was made ahead
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, Self

from sllm_data.chat import ChatRenderer
from sllm_data.errors import ConfigError
from sllm_data.files import sha256_of_text
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.data.config import OPERATIONAL_DATA, DataConfig
from sllm_data.trainer.data.making import Made, make_packs
from sllm_data.trainer.data.planning import Plan, State, check_template
from sllm_data.trainer.data.reading import Dataset, Row
from sllm_data.trainer.data.workers import Workers
from sllm_data.trainer.geometry import AudioGeometry

MAX_NAMES = 100
"""Of rows that were left out for one reason, that are kept."""


@dataclass(slots=True)
class Skipped:
    """Rows that were left out for one reason."""

    num: int = 0
    names: list[str] = field(default_factory=list)
    """Of the first hundred of them."""


@dataclass(slots=True)
class PackCounts:
    """What this rank's packs held so far.

    Rows that the plan leaves out are the same on all ranks and counted on each; clips that
    can't be decoded are counted where their pack is made.
    """

    packs: int = 0
    rows: int = 0
    positions: int = 0
    budget: int = 0
    """Positions that the packs could have held."""
    audio_seconds: float = 0.0
    skipped: dict[str, Skipped] = field(default_factory=dict)
    """By reason; a row is counted in each epoch."""

    @property
    def useful_share(self) -> float:
        """Positions that hold something, of those that the packs could have held."""
        return self.positions / self.budget if self.budget else 1.0


class PackStream:
    """Packs for one rank, in an order that depends on the configuration, data and seed alone.

    Attributes:
        counts: What the packs held so far, and what was left out.
        epoch: Of the last row handed out, from 0.
        fingerprint: Of all that the order depends on; another one is another stream.
    """

    def __init__(self, plan: Plan, *, rank: int) -> None:
        """Opens the datasets once to check them; see open_packs."""
        self._plan = plan
        self._rank = rank
        self._state: State | None = None
        self._source: Iterator[Made] | None = None
        self._workers: Workers | None = None
        datasets = [Dataset(entry, number=n) for n, entry in enumerate(plan.config.datasets)]
        for dataset in datasets:
            for row in islice(dataset.rows(dataset.parts[0]), 1):
                if isinstance(row, Row):
                    check_template(row, dataset, plan.renderer)
        self._parts = _fingerprints(plan, datasets)
        self.fingerprint = sha256_of_text("\n".join(f"{k} {v}" for k, v in self._parts.items()))
        self.counts = PackCounts()
        self.epoch = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PackedBatch:
        """Returns the next pack.

        Raises:
            StopIteration: All epochs are over, where there is a number of them.
            LoaderError: A worker died.
            SllmDataError: The data can't be used.
        """
        first: int | None = None
        while True:
            made = next(self._started())
            self._state, self.epoch = made.state, made.epoch
            self._count(made)
            if made.batch is not None:
                return made.batch
            first = made.epoch if first is None else first
            if made.epoch > first + 1:
                raise ConfigError(
                    "data: must hold a row that can be trained on, a whole epoch had none: "
                    f"{self.told()}; `sllm-data validate` says more of each"
                )

    def told(self) -> str:
        """Returns in words what was skipped so far: how many for each reason, and the first."""
        return "; ".join(
            f"{reason} {skipped.num:,}, the first {skipped.names[0]}"
            for reason, skipped in self.counts.skipped.items()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def state(self) -> dict[str, Any]:  # Any: JSON
        """Returns where the stream stands behind the last pack that was handed out."""
        counts = self.counts
        return {
            "fingerprint": dict(self._parts),
            "plan": self._state,
            "epoch": self.epoch,
            "counts": {
                **{name: getattr(counts, name) for name in _NUMBERS},
                "skipped": {why: [s.num, list(s.names)] for why, s in counts.skipped.items()},
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:  # Any: JSON
        """Goes on where a state says; the number of workers and of ranks may be another one.

        Raises:
            ConfigError: The state is of other data, or of another configuration.
        """
        found = state["fingerprint"]
        changed = [name for name, value in self._parts.items() if found.get(name) != value]
        if changed:
            raise ConfigError(
                f"data: must be that of the checkpoint to go on, but changed: {', '.join(changed)}"
                "; put it back as it was, or start a new training in another folder"
            )
        self.close()
        self._state, self.epoch = state["plan"], state["epoch"]
        counts = state["counts"]
        skipped = {
            why: Skipped(num, list(names)) for why, (num, names) in counts["skipped"].items()
        }
        self.counts = PackCounts(**{name: counts[name] for name in _NUMBERS}, skipped=skipped)

    def close(self) -> None:
        """Ends the workers; the stream can still be asked for its state, and be gone on with."""
        self._source = None
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def _started(self) -> Iterator[Made]:
        if self._source is None:
            if self._plan.config.workers:
                self._workers = Workers(self._plan, rank=self._rank, state=self._state)
                self._source = self._workers
            else:
                self._source = make_packs(self._plan, rank=self._rank, state=self._state)
        return self._source

    def _count(self, made: Made) -> None:
        for skip in made.skips:
            skipped = self.counts.skipped.setdefault(skip.reason, Skipped())
            skipped.num += 1
            if len(skipped.names) < MAX_NAMES:
                skipped.names.append(skip.name)
        if made.batch is not None:
            self.counts.packs += 1
            self.counts.rows += len(made.batch.sample_ids)
            self.counts.positions += len(made.batch.text.token_ids)
            self.counts.budget += self._plan.config.budget
            self.counts.audio_seconds += made.batch.audio_seconds


_NUMBERS = ("packs", "rows", "positions", "budget", "audio_seconds")


def open_packs(  # noqa: PLR0913 - what is trained, in which order, for whom
    config: DataConfig,
    *,
    renderer: ChatRenderer,
    geometry: AudioGeometry,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    twins: bool = False,
    epochs: int | None = None,
) -> PackStream:
    """Opens the datasets of a training and checks them.

    Args:
        config: Which rows, how often, in packs of which size.
        renderer: Of the LLM that is trained.
        geometry: Of its encoder and connector.
        seed: Of all order and chance.
        rank: Whose packs; all ranks make as many.
        world_size: Number of ranks.
        twins: Whether each row brings its side that reads, for losses that need it.
        epochs: How often all rows are seen; for ever where None.

    Raises:
        ShardError: A dataset is missing parts, damaged, or of another schema version.
        ConfigError: A task is asked for that a dataset doesn't have.
        ModelError: Its answers were asked for by way of another chat template.
    """
    plan = Plan(
        config=config,
        renderer=renderer,
        geometry=geometry,
        seed=seed,
        world_size=world_size,
        twins=twins,
        epochs=epochs,
    )
    return PackStream(plan, rank=rank)


def _fingerprints(plan: Plan, datasets: Sequence[Dataset]) -> dict[str, str]:
    """Returns digests by what they are of."""
    entries = plan.config.model_dump(mode="json", exclude=set(OPERATIONAL_DATA))
    for entry in entries["datasets"]:
        del entry["path"]  # a dataset may have been moved; its parts are what counts
    settings = {
        "datasets": [dataset.digest for dataset in datasets],
        "configuration of the data": entries,
        "seed": plan.seed,
        "chat template or tokenizer": [plan.renderer.chat_template_sha256, plan.renderer.revision],
        "encoder or connector": repr(plan.geometry),
        "twins": plan.twins,
        "epochs": plan.epochs,
    }
    return {name: sha256_of_text(repr(value)) for name, value in settings.items()}
