"""All figures of a set of predictions: cells, groups of cells, pairs of sides.

    cell    one task (and each of its parameters) in one split and eval group, on one side
    group   all tasks of a split and eval group, on one side
    pair    two sides of a group or of one of its tasks: ratios and the gap of their losses

Groups are always all there, also those without a row: a figure that is missing is seen.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sllm_data.evaluation.bootstrap import Estimate, Table, drawn_sums, scores_of
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.following import judge
from sllm_data.evaluation.measures import metrics_of, ratio
from sllm_data.evaluation.predictions import SIDES, Prediction
from sllm_data.evaluation.scores import (
    Counted,
    Drawn,
    Score,
    count_rows,
    difference,
    mean,
    quotient,
)
from sllm_data.evaluation.translation import signatures

EVAL_GROUPS = {
    "train": "seen instruction",
    "held_out_instruction": "held-out instruction",
    "held_out_task": "held-out task",
}
"""The groups of a dataset, and what they are called where people read."""

PAIRS = (
    *(("speech", "text"), ("text", "backbone"), ("speech", "backbone"), ("speech", "cascade")),
    ("cascade", "backbone"),
)
"""Sides that are compared where both are there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One task on one side."""

    split: str
    eval_group: str
    task: str
    task_params: str | None
    """None: rows with any parameters."""
    side: str
    rows: int
    scores: Mapping[str, Estimate]
    """By metric, the main one first; metrics without a row are left out."""
    main: str
    broken_rules: Mapping[str, int]
    """How many answers break which rule first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """All tasks of one split and eval group on one side."""

    split: str
    eval_group: str
    side: str
    tasks: int
    rows: int
    score: Estimate
    """Mean over the tasks of their main metric, each in [0, 1]."""
    following: Estimate
    """Share of the rows that break no rule."""
    anchor: Estimate
    """Share of the rows, of those that it can be told of, that are copies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two sides of the same rows."""

    split: str
    eval_group: str
    task: str | None
    """None: the mean over all tasks."""
    side: str
    other: str
    score_ratio: Estimate
    """Of the main metric: `side` over `other`."""
    following_ratio: Estimate
    nll_gap: Estimate
    """Nats a token of the reference: of `side` less `other`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What is known of a set of predictions."""

    models: Mapping[str, str]
    """By side."""
    rows: int
    """Samples, each of which every side answered."""
    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    signatures: Mapping[str, str]
    """By which BLEU and chrF can be computed elsewhere."""


def tabulate(predictions: Sequence[Prediction], config: EvaluationConfig) -> Report:
    """Computes all figures.

    Args:
        predictions: As `read_predictions` returns them: every side has the same samples.
        config: Metrics and thresholds.
    """
    blocks: defaultdict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for each in sorted(predictions, key=lambda found: found.sample_id):
        blocks[each.split, each.eval_group].append(each)
    sides = sorted({each.side for each in predictions}, key=_side_order)
    cells, groups, pairs = [], [], []
    for split, eval_group in _all_groups(blocks):
        block = _Block(split=split, eval_group=eval_group, sides=sides, config=config)
        block.count(blocks[split, eval_group])
        cells += list(block.cells())
        groups += [block.group(side) for side in sides]
        pairs += list(block.pairs())
    return Report(
        models={side: _models(predictions, side) for side in sides},
        rows=len({each.sample_id for each in predictions}),
        cells=tuple(cells),
        groups=tuple(groups),
        pairs=tuple(pairs),
        signatures=signatures(sorted({each.response_language for each in predictions})),
    )


def _side_order(side: str) -> tuple[int, str]:
    known = list(SIDES)
    return (known.index(side) if side in known else len(known), side)


def _all_groups(blocks: Mapping[tuple[str, str], object]) -> list[tuple[str, str]]:
    order = list(EVAL_GROUPS)
    named = {(split, group) for split, _ in blocks for group in order} | set(blocks)
    return sorted(
        named, key=lambda key: (key[0], order.index(key[1]) if key[1] in order else 3, key[1])
    )


def _models(predictions: Sequence[Prediction], side: str) -> str:
    return ", ".join(sorted({each.model for each in predictions if each.side == side} - {""}))


class _Block:
    """One split and eval group while its figures are made."""

    def __init__(
        self, *, split: str, eval_group: str, sides: Sequence[str], config: EvaluationConfig
    ) -> None:
        self._name = (split, eval_group)
        self._sides = sides
        self._config = config
        self._drawn: dict[tuple[str, str | None, str], Drawn] = {}
        """By task, parameters and side."""
        self._mains: dict[tuple[str, str], Score] = {}
        """By task and side: drawing a score again takes most of the time."""

    def count(self, predictions: Sequence[Prediction]) -> None:
        """Takes in the rows of the block, sorted by sample_id."""
        tasks: defaultdict[str, defaultdict[str, list[Prediction]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for each in predictions:
            tasks[each.task][each.side].append(each)
        for task, by_side in sorted(tasks.items()):
            names = metrics_of(task, self._config)
            counted = {
                side: count_rows([judge(row, self._config) for row in rows], names, self._config)
                for side, rows in ((side, by_side[side]) for side in self._sides)
            }
            self._draw(task, None, counted, np.arange(len(by_side[self._sides[0]])))
            params = [row.task_params for row in by_side[self._sides[0]]]
            for one in sorted(set(params)) if len(set(params)) > 1 else []:
                places = np.flatnonzero([each == one for each in params])
                self._draw(task, one, counted, places)

    def _draw(
        self,
        task: str,
        params: str | None,
        counted: Mapping[str, Counted],
        places: npt.NDArray[np.int64],
    ) -> None:
        columns = [
            (side, name, table[places])
            for side, found in counted.items()
            for name, table in found.counts.items()
        ]
        joined = np.concatenate([table for *_, table in columns], axis=1)
        draws = drawn_sums(joined, self._config.bootstrap, *self._name, task, params or "")
        ends = np.cumsum([table.shape[1] for *_, table in columns])
        by_column = dict(
            zip(
                [(side, name) for side, name, _ in columns],
                zip(
                    np.split(joined.sum(axis=0), ends), np.split(draws, ends, axis=1), strict=True
                ),
                strict=False,  # the last piece is empty
            )
        )
        for side, found in counted.items():
            rules = Counter(found.judged[place].broken_rule for place in places)
            self._drawn[task, params, side] = Drawn(
                rows=len(places),
                says={name: int(says[places].sum()) for name, says in found.says.items()},
                sums={name: by_column[side, name][0] for name in found.counts},
                draws={name: by_column[side, name][1] for name in found.counts},
                broken_rules={str(rule): n for rule, n in rules.most_common() if rule},
            )

    def cells(self) -> Iterator[Cell]:
        """Yields every cell, by task and side."""
        for (task, params, side), drawn in self._drawn.items():
            scores = {name: drawn.score(name) for name in drawn.sums if drawn.says[name]}
            yield Cell(
                split=self._name[0],
                eval_group=self._name[1],
                task=task,
                task_params=params,
                side=side,
                rows=drawn.rows,
                scores={
                    name: score.estimate(self._config.bootstrap) for name, score in scores.items()
                },
                main=self._config.scoring(task).main,
                broken_rules=drawn.broken_rules,
            )

    def _of_side(self, side: str) -> dict[str, Drawn]:
        return {
            task: drawn
            for (task, params, of), drawn in self._drawn.items()
            if of == side and params is None
        }

    def _main(self, side: str, task: str | None) -> Score:
        if task is None:
            return mean([self._main(side, each) for each in self._of_side(side)])
        if (task, side) not in self._mains:
            name = self._config.scoring(task).main
            self._mains[task, side] = self._drawn[task, None, side].main(name)
        return self._mains[task, side]

    def _pooled(self, side: str, name: str, task: str | None) -> Score:
        """A share of rows: of those of all tasks together."""
        drawn = self._of_side(side)
        chosen = [each for of, each in drawn.items() if task in (None, of)]
        rows = sum(each.says[name] for each in chosen)
        if not rows:
            return Score()
        sums = np.sum([each.sums[name] for each in chosen], axis=0)
        draws: Table = np.sum([each.draws[name] for each in chosen], axis=0)
        return Score(value=ratio(sums.tolist()), draws=scores_of(ratio, draws), rows=rows)

    def group(self, side: str) -> Group:
        """Returns all tasks together, on one side."""
        drawn = self._of_side(side)
        config = self._config.bootstrap
        return Group(
            split=self._name[0],
            eval_group=self._name[1],
            side=side,
            tasks=len(drawn),
            rows=sum(each.rows for each in drawn.values()),
            score=self._main(side, None).estimate(config),
            following=self._pooled(side, "following", None).estimate(config),
            anchor=self._pooled(side, "anchor", None).estimate(config),
        )

    def pairs(self) -> Iterator[Pair]:
        """Yields every pair of sides, of all tasks together and of each."""
        config = self._config.bootstrap
        for side, other in PAIRS:
            if not {side, other} <= set(self._sides):
                continue
            for task in (None, *self._of_side(side)):
                a, b = (
                    [self._pooled(of, name, task) for name in ("following", "nll")]
                    for of in (side, other)
                )
                main = quotient(self._main(side, task), self._main(other, task))
                yield Pair(
                    split=self._name[0],
                    eval_group=self._name[1],
                    task=task,
                    side=side,
                    other=other,
                    score_ratio=main.estimate(config),
                    following_ratio=quotient(a[0], b[0]).estimate(config),
                    nll_gap=difference(a[1], b[1]).estimate(config),
                )
