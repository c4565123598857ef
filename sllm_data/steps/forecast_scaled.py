"""What the sampled utterances have, scaled up to all: requests, tokens, samples, bytes.

One column for each amount, one row for each utterance that was drawn, so that one set of draws
serves all amounts and their sums.
"""

from collections.abc import Mapping, Sequence
from os import SEEK_END
from pathlib import Path

import numpy as np

from sllm_data.reporting.forecast import Requests
from sllm_data.shards import part_name, read_footer, read_part
from sllm_data.steps.forecast_numbers import NOTHING, Amount, Table, added, mean_draws, totals
from sllm_data.steps.forecast_passes import Asked, PassOfSample
from sllm_data.steps.forecast_sample import Sampled

_GIGABYTE = 1e9
_END_BYTES = 8

Key = tuple[str, ...]


class Scaled:
    """The amounts of a forecast.

    Args:
        sampled: The small dataset, which is finished.
        passes: Of it.
        weights: By sample_id, how many answers of the pass `main` each stands for.
        rng: Of the draws.
    """

    def __init__(
        self,
        sampled: Sampled,
        passes: Sequence[PassOfSample],
        weights: Mapping[str, float],
        *,
        rng: np.random.Generator,
    ) -> None:
        self._root = sampled.dataset.root
        self._rng = rng
        self._share = len(sampled.audio_ids) / sampled.population
        self._places = {audio_id: place for place, audio_id in enumerate(sampled.audio_ids)}
        self._columns: dict[Key, Table] = {}
        self._seen: dict[Key, float] = {}
        for audio_id, size in sampled.audio_bytes.items():
            self._add(("audio",), audio_id, size, seen=1.0)
        for each in passes:
            for asked in each.asked:
                self._add_request(each, asked)
        main = next(each for each in passes if each.turn == "main")
        samples = read_part(self._part("samples"), ["sample_id", "task", "audio_refs"])
        for row in samples.to_pylist():
            weight = weights[row["sample_id"]]
            audio_id = row["audio_refs"][0]["audio_id"]
            self._add(("samples", row["task"]), audio_id, weight, seen=main.seen)
        self._amounts = self._scaled_up(sampled.population)

    def _part(self, table: str) -> Path:
        return self._root / table / part_name(0)

    def _add_request(self, each: PassOfSample, asked: Asked) -> None:
        at = (each.turn, asked.task)
        self._add(("rows", each.turn), asked.audio_id, asked.weight, seen=each.seen)
        self._add((asked.state, *at), asked.audio_id, asked.weight, seen=each.seen)
        if asked.state == "left":
            tokens = asked.weight * asked.prompt_tokens
            self._add(("prompt", *at), asked.audio_id, tokens, seen=each.seen)

    def _add(self, key: Key, audio_id: str, amount: float, *, seen: float) -> None:
        column = self._columns.setdefault(key, np.zeros(len(self._places)))
        column[self._places[audio_id]] += amount
        self._seen[key] = seen

    def _scaled_up(self, population: int) -> dict[Key, Amount]:
        if not self._columns:
            return {}
        found, draws = totals(
            np.stack(list(self._columns.values()), axis=1),
            population=population,
            seen=[self._share * self._seen[key] for key in self._columns],
            rng=self._rng,
        )
        return {
            key: Amount(mean=float(found[place]), draws=draws[:, place])
            for place, key in enumerate(self._columns)
        }

    def _amount(self, *key: str) -> Amount:
        return self._amounts.get(key, NOTHING)

    def left(self, turn: str) -> Amount:
        """The requests of a pass that are still to be asked."""
        return added(amount for key, amount in self._amounts.items() if key[:2] == ("left", turn))

    def requests(self, each: PassOfSample, task: str) -> Requests:
        """The requests of one task in a pass."""
        return Requests(
            turn=each.turn,
            task=task,
            known=self._amount("known", each.turn, task).estimate(),
            left=self._amount("left", each.turn, task).estimate(),
            prompt_tokens=self._amount("prompt", each.turn, task).estimate(),
            response_tokens=self._responses(each, task).estimate(),
        )

    def _responses(self, each: PassOfSample, task: str) -> Amount:
        """Tokens of the answers that are left: their number times their mean length.

        The lengths are those of the task, of the whole pass where the probe got none of it.
        """
        left = self._amount("left", each.turn, task)
        told = [(row.task, row.response_tokens) for row in each.asked if row.response_tokens]
        of_task = [length for name, length in told if name == task]
        lengths = of_task or [length for _, length in told]
        if not lengths or not left.mean:
            return NOTHING
        means = mean_draws(lengths, seen=len(of_task) / left.mean, rng=self._rng)
        mean = sum(lengths) / len(lengths)
        return Amount(mean=left.mean * mean, draws=left.draws * means)

    def samples(self) -> dict[str, Amount]:
        """Training rows of the finished dataset by task."""
        found = {key[1]: each for key, each in self._amounts.items() if key[0] == "samples"}
        return dict(sorted(found.items()))

    def gigabytes(self, passes: Sequence[PassOfSample], *, parts: int) -> dict[str, Amount]:
        """Of the finished dataset by table, in so many parts."""
        found = {"audio": self._size("audio", self._amount("audio"), parts)}
        for table in ("requests", "responses"):
            found[table] = added(
                self._size(f"{table}/{each.turn}", self._amount("rows", each.turn), parts)
                for each in passes
            )
        found["samples"] = self._size("samples", added(self.samples().values()), parts)
        return found

    def _size(self, table: str, rows: Amount, parts: int) -> Amount:
        """Gigabytes: rows as large as those of the small dataset, and a footer for each part."""
        path = self._part(table)
        num_rows = read_footer(path).rows
        footer = _footer_bytes(path)
        row = 1.0 if table == "audio" else (path.stat().st_size - footer) / max(1, num_rows)
        return Amount(
            mean=(rows.mean * row + parts * footer) / _GIGABYTE,
            draws=(rows.draws * row + parts * footer) / _GIGABYTE,
        )


def _footer_bytes(path: Path) -> int:
    """The last eight bytes of a Parquet file: how long its footer is, and its mark."""
    with path.open("rb") as file:
        file.seek(-_END_BYTES, SEEK_END)
        return int.from_bytes(file.read(_END_BYTES // 2), "little") + _END_BYTES
