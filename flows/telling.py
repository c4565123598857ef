"""What a flow run shows while it works and at its end: artifacts and events of Prefect.

    progress          artifact  how much of the running step is committed, by its parts
    steps             table     what each step did in this run
    quotas            table     tasks: asked for, requested, kept
    rejections        table     dropped rows by step and reason
    report            link      the page that `sllm-data report` writes
    dataset-stats     markdown  all figures as text

    sllm-data.part.committed     event  one part stands under its final name
    sllm-data.step.finished      event  a step is done, with its counts
    sllm-data.dataset.finished   event  rows came to a dataset, and it is whole

All of them name the dataset as `sllm-data.dataset.<folder or URL>`, so that an automation can
choose, and what it starts on another worker finds it.
Parts are looked for on the disk, where they appear whatever runner makes them.
"""

import contextvars
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.events import emit_event

from sllm_data.reporting import Stats, as_text, collect_stats
from sllm_data.steps import StepReport
from sllm_data.storage.places import shown, url_of

_LOOK_S = 2.0
_WHOLE = 100.0

_TABLES = {
    "candidates": "candidates",
    "ingest": "audio",
    "index": "index",
    "align": "alignments",
    "plan": "requests",
    "generate": "responses",
    "assemble": "samples",
}


class Parts:
    """The parts of one step, watched on the disk while it works."""

    def __init__(self, root: Path, step: str) -> None:
        self._root = root
        self._step = step
        name, _, turn = step.partition(".")
        self._folder = root / _TABLES[name] / turn
        # parts of a step are those of the one before it, but for the first
        self._before = root / ("candidates" if name in ("candidates", "ingest") else "audio")
        self._known = self._there()
        self._artifact: UUID | None = None

    def look(self) -> None:
        """Tells of the parts that were committed since the last look."""
        there = self._there()
        new = sorted(there - self._known)
        self._known = there
        for path in new:
            tell(
                "part.committed",
                self._root,
                {
                    "step": self._step,
                    "file": str(path.relative_to(self._root)),
                    "bytes": path.stat().st_size,
                },
            )
        if new:
            self._show()

    def _show(self) -> None:
        total = max(len(_parts(self._before)), len(self._known))
        share = _WHOLE * len(self._known) / total
        said = f"{self._step}: {len(self._known):,} of {total:,} parts"
        if self._artifact is None:
            self._artifact = cast(UUID, create_progress_artifact(share, "progress", said))
        else:
            update_progress_artifact(self._artifact, share, said)

    def _there(self) -> set[Path]:
        return set(_parts(self._folder))


def _parts(folder: Path) -> list[Path]:
    return list(folder.glob("part-*.parquet"))


@contextmanager
def showing_parts(root: Path, step: str) -> Iterator[None]:
    """Shows and tells what a step commits while the block runs."""
    parts = Parts(root, step)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_S):
            parts.look()

    # artifacts belong to the task run that this context names
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(watch,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    parts.look()


def tell(what: str, root: Path, facts: Mapping[str, Any]) -> None:  # Any: JSON values
    """Emits an event about a dataset."""
    emit_event(
        event=f"sllm-data.{what}",
        resource={
            "prefect.resource.id": f"sllm-data.dataset.{shown(root)}",
            "prefect.resource.name": shown(root),
        },
        payload=dict(facts),
    )


def show_dataset(root: Path, reports: Sequence[StepReport]) -> None:
    """Publishes the tables and figures of a finished dataset."""
    stats = collect_stats(root)
    named = shown(root)
    create_table_artifact(
        [asdict(report) | {"seconds": round(report.seconds, 1)} for report in reports],
        "steps",
        f"What each step did in this run on {named}",
    )
    create_table_artifact(
        _quotas(stats), "quotas", f"Tasks of {named}: asked for, requested, kept"
    )
    create_table_artifact(_rejections(stats), "rejections", f"Dropped rows of {named}")
    create_markdown_artifact(
        f"# {named}\n\n{as_text(stats)}",
        "dataset-stats",
        f"Rows, hours, tokens and rejections of {named}",
    )


def show_page(path: Path) -> None:
    """Publishes the link to a page that was written."""
    link = url_of(path) or path.resolve().as_uri()
    create_link_artifact(link, path.name, "report", shown(path))


def _quotas(stats: Stats) -> list[dict[str, Any]]:
    return [
        {
            "task": task,
            "asked for": f"{of_task.asked_share:.1%}",
            "requests": of_task.requests,
            "of requests": f"{of_task.request_share:.1%}",
            "samples": of_task.samples,
            "of samples": f"{of_task.sample_share:.1%}",
        }
        for task, of_task in stats.tasks.items()
    ]


def _rejections(stats: Stats) -> list[dict[str, Any]]:
    return [
        {"step": step, "reason": reason, "rows": number}
        for step, reasons in stats.rejections.items()
        for reason, number in reasons.items()
    ] or [{"step": "-", "reason": "nothing was rejected", "rows": 0}]
