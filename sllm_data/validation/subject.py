"""What is examined: the parts of a folder, what its manifests say, and how to look at it.

The seam of all levels. A level is a module with `RULES` and

    def check(subject: Subject, tally: Tally) -> None

which adds what it finds to the tally. Work over many parts goes through `over_parts`, which
runs a module-level function of one small picklable job where `runner` says; work over the
whole dataset goes through `database`, a DuckDB that spills to disk within a fixed memory.
Level 0 removes from `parts` what can't be read, so that later levels trust schemas.
"""

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from sllm_data.config import RunConfig
from sllm_data.errors import OutputError
from sllm_data.runners import RunnerConfig, map_parts, num_workers
from sllm_data.shards import Manifest
from sllm_data.shards.database import interruptible, opened, parquet
from sllm_data.steps import Progress
from sllm_data.validation.contract import Contract
from sllm_data.validation.findings import Tally
from sllm_data.validation.published import Published

Job = TypeVar("Job")
Result = TypeVar("Result")

_JOBS_PER_WORKER = 4  # fewer are done sooner than another process has started
_ROWS_PER_WORKER = 25_000
_SHARES = 2**32


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One Parquet file of the dataset."""

    file: str
    """Relative to the dataset, with forward slashes: `requests/main/part-00003.parquet`."""
    table: str
    """Its table in `shards.TABLES`."""
    number: int
    """The number in its name; where another program chose the name, its place in the folder."""
    rows: int = 0

    @property
    def folder(self) -> str:
        """`samples`, `requests/main`, `rejections/plan.main`."""
        return self.file.rpartition("/")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A folder under examination."""

    root: Path
    parts: tuple[Part, ...]
    """Those that are there, by name; after level 0 only those that can be read as their table."""
    unread: tuple[Part, ...]
    """Those that level 0 removed, and those that a manifest names and that are not there."""
    manifests: Mapping[str, Manifest]
    """By step; empty where another program wrote the parts."""
    document: Mapping[str, Any]  # Any: YAML values
    """run.yaml; empty where there is none that can be read."""
    config: RunConfig | None
    """The same as a configuration, that of the newest extension."""
    published: Published
    """The schema that parts are judged against."""
    contract: Contract
    foreign: bool
    """Whether another program wrote the parts: no run.yaml and no manifest."""
    sample: float
    """Share of the rows to look at where a level looks at single rows, in (0, 1]."""
    runner: RunnerConfig
    """Where parts are judged."""
    threads: int
    """Of this machine, for work over the whole dataset."""
    keep: int
    """Findings to keep of each rule."""
    against: tuple[Path, ...]
    """Datasets whose test rows the training rows must have nothing of."""
    scratch: Path
    """Empty folder for intermediate files, which parts are judged into; removed in the end."""
    progress: Progress

    def parts_of(self, folder: str) -> tuple[Part, ...]:
        """The parts of a folder or of all folders of a table: `samples`, `requests/main`."""
        return tuple(p for p in self.parts if folder in (p.folder, p.table))

    def path(self, part: Part) -> Path:
        """Where a part lies."""
        return self.root / part.file

    def rows_of(self, folder: str, *options: str) -> str:
        """The rows of a folder's parts in SQL; options are those of `read_parquet`."""
        return parquet(map(self.path, self.parts_of(folder)), *options)


def over_parts(
    subject: Subject,
    tally: Tally,
    name: str,
    check: Callable[[Job], Tally],
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
) -> None:
    """Runs a check on each job, where the subject's runner says, and adds up what they find.

    Args:
        subject: The dataset.
        tally: Where findings go.
        name: What the progress bar says.
        check: A module-level function.
        jobs: Small and picklable.
        workers: How many processes the work is worth, which take a while to start; where absent,
            by the number of jobs.

    Raises:
        OutputError: A worker process died, or the dataset is not there where it works.
        ConfigError: The Ray cluster can't be joined.
    """
    for found in mapped(subject, name, check, jobs, workers=workers):
        tally.merge(found)


def mapped(
    subject: Subject,
    name: str,
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
) -> Iterator[Result]:
    """Yields the result of each job, in the order in which they finish.

    Args:
        subject: The dataset.
        name: What the progress bar says.
        work: A module-level function.
        jobs: Small and picklable.
        workers: How many processes the work is worth, which take a while to start; where absent,
            by the number of jobs.

    Raises:
        OutputError: A worker process died, or the dataset is not there where it works.
        ConfigError: The Ray cluster can't be joined.
    """
    runner = subject.runner
    if runner.kind == "processes":  # a cluster's are there already
        worth = len(jobs) // _JOBS_PER_WORKER if workers is None else workers
        runner = RunnerConfig(workers=max(1, min(num_workers(runner), worth)))
    folders = (subject.root, subject.scratch, *subject.against)
    sited = [_Sited(folders=folders, work=work, job=job) for job in jobs]
    yield from subject.progress.parts(name, map_parts(_judge, sited, runner), total=len(jobs))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sited:
    """A job, and the folders that must be where it is done."""

    folders: tuple[Path, ...]
    work: Callable[[Any], Any]  # Any: a job and its result
    job: Any  # Any: as above


def _judge(sited: _Sited) -> Any:  # Any: as above
    """Does a job; a machine that lacks the dataset must not judge it."""
    for folder in sited.folders:
        if not folder.is_dir():
            raise OutputError(
                f"{folder}: must be the same folder on each machine that validates, there is "
                f"none on {platform.node()}; put it on storage that all share (intermediate "
                "files lie where TMPDIR says)"
            )
    return sited.work(sited.job)


def workers_for(rows: int) -> int:
    """How many processes it is worth to start for light work on so many rows."""
    return rows // _ROWS_PER_WORKER


@contextmanager
def database(subject: Subject) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a DuckDB whose memory is bounded and which spills to the scratch folder."""
    with opened(subject.scratch / "spill", threads=subject.threads) as connection, interruptible():
        yield connection


def quoted(name: str) -> str:
    """Returns a column's name as it stands in SQL.

    >>> quoted("task")
    '"task"'
    """
    return '"' + name.replace('"', '""') + '"'


def is_sampled(row_id: str, share: float) -> bool:
    """Whether a row is among the share that is looked at: the same rows at every level.

    >>> is_sampled("a", 1.0)
    True
    """
    digest = hashlib.md5(row_id.encode("utf-8", "surrogatepass"), usedforsecurity=False)
    return int(digest.hexdigest()[:8], 16) < share * _SHARES


def sampled_sql(column: str, share: float) -> str:
    """The same as a condition in DuckDB's SQL."""
    return f"CAST('0x' || substr(md5({column}), 1, 8) AS BIGINT) < {int(share * _SHARES)}"
