"""Which tasks the admitted utterances get: by chance row by row, or by exact quotas.

A *growth* part of the index gives tasks that are new in this extension to the audio of
earlier ones. In draw mode an utterance gets a new task exactly where it would have drawn
it from the start; in quota mode each new task gets its share relative to the old ones.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from sllm_data.records.utterance import SPLITS
from sllm_data.sampling import (
    TaskConfig,
    assign_quotas,
    draw_tasks,
    is_eligible,
    largest_remainder,
    num_tasks_for,
)
from sllm_data.seeding import uniform
from sllm_data.steps.dataset import Dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """An utterance that passed the index and is to get tasks."""

    audio_id: str
    language: str
    transcript: str
    split: str
    emotion: str | None
    """Of the speaker, where the corpus knows it."""


class TaskChooser:
    """Chooses the tasks of admitted utterances, for one extension.

    `database` must hold a table `admitted` (audio_id, split, growth) and a view `stored`
    (audio_id, language, transcript, emotion); quota mode settles all of it at once.
    """

    def __init__(self, dataset: Dataset, database: duckdb.DuckDBPyConnection) -> None:
        self._config = dataset.config
        self._database = database
        self._tasks: dict[str, TaskConfig] = {
            name: task for name, task in sorted(dataset.config.tasks.items()) if task.weight > 0
        }
        before = dataset.extensions[-2]["tasks"] if dataset.extension else {}
        self._old = frozenset(before)
        if dataset.config.draw.mode == "quota":
            database.execute(
                "CREATE TABLE settled (audio_id VARCHAR, growth BOOLEAN, mask BIGINT)"
            )
            for split in SPLITS:
                self._settle(split)
                if dataset.extension:
                    self._settle_growth(split)

    @property
    def new_tasks(self) -> frozenset[str]:
        """Tasks that this extension adds; all of them in a first run."""
        return frozenset(self._tasks) - self._old

    def choose(self, rows: Sequence[Admitted], *, growth: bool) -> list[tuple[str, ...]]:
        """Returns the tasks of each utterance; an empty tuple where none is eligible."""
        if self._config.draw.mode == "draw":
            return [self._drawn(row, growth=growth) for row in rows]
        wanted = pa.table({"audio_id": [row.audio_id for row in rows]})
        masks = dict(
            self._database.execute(
                "SELECT audio_id, mask FROM settled JOIN wanted USING (audio_id) WHERE growth = ?",
                [growth],
            ).fetchall()
        )
        del wanted  # DuckDB reads it by its name
        return [self._named(masks.get(row.audio_id, 0)) for row in rows]

    def _named(self, mask: int) -> tuple[str, ...]:
        return tuple(name for bit, name in enumerate(self._tasks) if mask >> bit & 1)

    def _eligible(self, row: Admitted) -> list[str]:
        return [
            name
            for name, task in self._tasks.items()
            if is_eligible(
                task,
                language=row.language,
                transcript=row.transcript,
                split=row.split,
                emotion=row.emotion,
            )
        ]

    def _drawn(self, row: Admitted, *, growth: bool) -> tuple[str, ...]:
        seed = self._config.seed
        drawn = draw_tasks(
            {name: self._tasks[name].weight for name in self._eligible(row)},
            seed=seed,
            audio_id=row.audio_id,
            count=num_tasks_for(self._config.draw, seed=seed, audio_id=row.audio_id),
        )
        return tuple(name for name in drawn if not growth or name not in self._old)

    def _stream(self, split: str, *, growth: bool) -> Iterator[Admitted]:
        result = self._database.cursor().execute(
            "SELECT audio_id, language, transcript, emotion FROM admitted "
            "JOIN stored USING (audio_id) WHERE split = ? AND growth = ? "
            "ORDER BY md5(concat(?, audio_id)), audio_id",
            [split, growth, f"{self._config.seed}:"],
        )
        while rows := result.fetchmany(10_000):
            for audio_id, language, transcript, emotion in rows:
                yield Admitted(
                    audio_id=audio_id,
                    language=language,
                    transcript=transcript,
                    split=split,
                    emotion=emotion,
                )

    def _settle(self, split: str) -> None:
        bits = {name: 1 << bit for bit, name in enumerate(self._tasks)}
        counts, eligible = array("b"), array("q")
        for row in self._stream(split, growth=False):
            choices = self._eligible(row)
            wanted = num_tasks_for(
                self._config.draw, seed=self._config.seed, audio_id=row.audio_id
            )
            counts.append(min(wanted, len(choices)))
            eligible.append(sum(bits[name] for name in choices))
        masks = assign_quotas(
            (row.audio_id for row in self._stream(split, growth=False)),
            counts=counts,
            eligible=eligible,
            weights=self._weights(split),
            seed=self._config.seed,
        )
        self._keep(split, masks, growth=False)

    def _weights(self, split: str) -> dict[str, float]:
        return {
            name: task.weight if not (task.held_out and split == "train") else 0.0
            for name, task in self._tasks.items()
        }

    def _settle_growth(self, split: str) -> None:
        """Gives each new task as many old utterances as its weight asks for."""
        seed = self._config.seed
        weights = self._weights(split)
        new = sorted(self.new_tasks)
        variates: dict[str, array[float]] = {name: array("d") for name in new}
        total = 0
        for row in self._stream(split, growth=True):
            choices = frozenset(self._eligible(row))
            wanted = num_tasks_for(self._config.draw, seed=seed, audio_id=row.audio_id)
            total += min(wanted, len(choices & self._old))
            for name in new:
                variate = uniform(seed, "task", row.audio_id, name)
                variates[name].append(variate if name in choices else float("inf"))
        old_weight = sum(weights[name] for name in self._old if name in weights)
        quotas = largest_remainder(
            round(total * sum(weights[name] for name in new) / max(old_weight, 1e-9)),
            {name: weights[name] for name in new},
        )
        masks = np.zeros(len(next(iter(variates.values()), ())), np.int64)
        for bit, name in enumerate(self._tasks):
            if name in variates:
                values = np.frombuffer(variates[name]) if variates[name] else np.zeros(0)
                first = np.argsort(values, kind="stable")[: quotas[name]]
                masks[first[np.isfinite(values[first])]] |= 1 << bit
        self._keep(split, masks, growth=True)

    def _keep(self, split: str, masks: np.ndarray, *, growth: bool) -> None:
        rows = self._stream(split, growth=growth)
        for start in range(0, len(masks), 10_000):
            piece = masks[start : start + 10_000]
            settled_rows = pa.table(
                {
                    "audio_id": [row.audio_id for _, row in zip(piece, rows, strict=False)],
                    "growth": [growth] * len(piece),
                    "mask": piece,
                }
            )
            self._database.execute("INSERT INTO settled SELECT * FROM settled_rows")
            del settled_rows
