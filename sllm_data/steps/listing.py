"""candidates: what the corpora list, selected, in canonical order, cut into parts.

`selecting` reads and selects; here the rows are cut into parts of `part_size`. Selection comes
before any audio is opened: what will not be used is never decoded. Rows that `sample`, `limit`
or `weight` leave out are counted, rows that can't be used are rejections. Memory does not grow
with the size of a corpus.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from sllm_data.files import writing
from sllm_data.records import Rejection
from sllm_data.shards import TABLES, PartRecord, part_name, write_part
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.parts import Step, StepReport, finish_parts, write_rejections
from sllm_data.steps.selecting import Selection, selected


def list_candidates(dataset: Dataset) -> StepReport:
    """Lists all corpora and cuts the selection into parts.

    Raises:
        CorpusError: A corpus can't be read.
        RejectedError: Too many of its rows are unusable.
    """
    step = Step(
        name="candidates",
        folders=("rejections/candidates", "candidates"),
        identity=expected_identity(dataset, "candidates"),
        inputs=(),
    )
    first = num_candidate_parts(dataset)
    old = dataset.manifest("candidates")
    if old is not None and old.extension == dataset.extension:
        return finish_parts(dataset, step, range(first), lambda _: ())
    shutil.rmtree(dataset.work, ignore_errors=True)
    with writing(dataset.work):
        # the parts of an unfinished listing are remade: a corpus may have changed meanwhile
        for path in _stale(dataset, step, first):
            path.unlink()
        dataset.work.mkdir(parents=True, exist_ok=True)
    with selected(dataset, dataset.work, num_old=first) as selection:
        by_part = dict(_cut(dataset, step, selection, first))
        counts = {"listed": str(selection.listed), "chosen": str(selection.chosen)}
    report = finish_parts(
        dataset,
        step,
        range(first + len(by_part)),
        lambda missing: (by_part[k] for k in missing),
        extra=lambda _: counts,
    )
    shutil.rmtree(dataset.work, ignore_errors=True)
    return replace(report, parts_done=len(by_part), parts_kept=first)


def num_candidate_parts(dataset: Dataset) -> int:
    """How many parts of candidates are finished, those of all extensions."""
    manifest = dataset.manifest("candidates")
    parts = manifest.parts if manifest else ()
    return sum(part.file.startswith("candidates/") for part in parts)


def _stale(dataset: Dataset, step: Step, first: int) -> Iterator[Path]:
    for folder in step.folders:
        for path in (dataset.root / folder).glob("part-*.parquet"):
            if int(path.stem.removeprefix("part-")) >= first:
                yield path


def _cut(
    dataset: Dataset, step: Step, selection: Selection, first: int
) -> Iterator[tuple[int, tuple[PartRecord, PartRecord]]]:
    """Writes the chosen rows, part by part; there is one, also where nothing was chosen."""
    size = dataset.config.part_size
    rows = selection.rows()
    number = first
    rejections: Iterable[Rejection] = selection.rejections()
    while True:
        part = [row for _, row in zip(range(size), rows, strict=False)]
        if not part and number > first:
            return
        # all rejections of a listing stand beside its first part
        rejected = write_rejections(dataset.root, step, number, rejections)
        rejections = ()
        made = write_part(
            dataset.root,
            f"candidates/{part_name(number)}",
            part,
            table=TABLES["candidates"],
            identity=step.identity,
        )
        yield number, (rejected, made)
        number += 1
