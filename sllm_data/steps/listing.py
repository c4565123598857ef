"""candidates: what the corpora list, selected, in canonical order, cut into parts.

1. Every corpus is read once; its rows go to a table in the work folder, unsorted.
2. DuckDB (which spills to disk) drops repeated ids and those an earlier extension has,
   applies `sample`, `limit` and `weight` by hash order, and sorts by (corpus, audio_id).
3. The sorted rows are cut into parts of `part_size`.

Selection comes before any audio is opened: what will not be used is never decoded. Rows
that `sample`, `limit` or `weight` leave out are counted, rows that can't be used are
rejections. Memory does not grow with the size of a corpus.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import duckdb
import pyarrow as pa

from sllm_data.corpora.reading import read_corpus
from sllm_data.records import Candidate, Reason, Rejection
from sllm_data.seeding import uniform
from sllm_data.shards import TABLES, Column, PartRecord, Table, part_name, write_part
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.parts import Records, Step, StepReport, finish_parts, write_rejections

Row = Mapping[str, Any]  # Any: values of the candidates table

LISTED = Table(
    name="listed",
    meaning="candidates before selection, with their place in hash order",
    key="audio_id",
    columns=(
        *TABLES["candidates"].columns,
        Column(name="hash", type=pa.float64(), meaning="uniform in (0, 1) by audio_id"),
        Column(name="position", type=pa.int64(), meaning="order of reading"),
    ),
)

_COLUMNS = ", ".join(TABLES["candidates"].names())
_BATCH_ROWS = 10_000


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
    old = dataset.manifest("candidates")
    if old is not None and old.extension == dataset.extension:
        numbers = range(sum(part.file.startswith("candidates/") for part in old.parts))
        return finish_parts(dataset, step, numbers, lambda _: ())
    first = sum(part.file.startswith("candidates/") for part in old.parts) if old else 0
    listing = _Listing(dataset, step, first)
    shutil.rmtree(dataset.work, ignore_errors=True)
    records = listing.write()
    # the parts of an unfinished listing are remade: a corpus may have changed meanwhile
    by_part = {k: [r for r in records if r.file.endswith(part_name(k))] for k in listing.numbers}
    report = finish_parts(
        dataset,
        step,
        range(first + len(by_part)),
        lambda missing: (tuple(by_part[k]) for k in missing),
        extra=lambda _: listing.counts,
    )
    shutil.rmtree(dataset.work, ignore_errors=True)
    return replace(report, parts_done=len(by_part), parts_kept=first)


class _Listing:
    """One listing of all corpora for one extension."""

    def __init__(self, dataset: Dataset, step: Step, first: int) -> None:
        self._dataset = dataset
        self._step = step
        self._first = first
        self._rejected = dataset.work / "rejected.jsonl"
        self.numbers: list[int] = []
        self.counts: dict[str, str] = {}

    def write(self) -> Records:
        for path in self._stale():
            path.unlink()
        self._dataset.work.mkdir(parents=True)
        with self._rejected.open("w", encoding="utf-8") as sink, duckdb.connect() as database:
            write_part(
                self._dataset.root,
                ".work/listed.parquet",
                self._listed(sink),
                table=LISTED,
                identity=self._step.identity,
            )
            self._select(database, sink)
            sink.flush()
            records = list(self._cut(database))
        return tuple(records)

    def _stale(self) -> Iterator[Path]:
        for folder in self._step.folders:
            for path in (self._dataset.root / folder).glob("part-*.parquet"):
                if int(path.stem.removeprefix("part-")) >= self._first:
                    yield path

    def _listed(self, sink: TextIO) -> Iterator[Row]:
        config = self._dataset.config
        position = 0
        for entry, corpus in enumerate(config.corpora):
            for item in read_corpus(corpus, entry=entry, speaker_salt=config.speaker_salt):
                if isinstance(item, Rejection):
                    _append(sink, item)
                    continue
                yield _row_of(item) | {
                    "hash": uniform(config.seed, "select", item.audio_id),
                    "position": position,
                }
                position += 1

    def _select(self, database: duckdb.DuckDBPyConnection, sink: TextIO) -> None:
        """Makes the table `chosen`: unique, new, and within sample, limit and weight."""
        root = self._dataset.root
        database.execute("SET preserve_insertion_order = false")
        database.execute(f"SET temp_directory = '{_quoted(self._dataset.work / 'spill')}'")
        database.execute(
            "CREATE VIEW ranked AS SELECT *, row_number() OVER "
            "(PARTITION BY audio_id ORDER BY entry, position) AS nth "
            f"FROM read_parquet('{_quoted(root / '.work/listed.parquet')}')"
        )
        repeated = database.execute(
            "SELECT audio_id FROM ranked WHERE nth > 1 ORDER BY audio_id, nth"
        )
        while row := repeated.fetchone():
            _append(sink, _duplicate(row[0]))
        database.execute("CREATE TABLE entries (entry INTEGER, share DOUBLE, quota BIGINT)")
        self._fill_entries(database)
        database.execute(
            "CREATE TABLE chosen AS SELECT ranked.* EXCLUDE (nth) FROM ranked "
            "JOIN entries USING (entry) WHERE nth = 1 AND hash < share "
            "QUALIFY row_number() OVER (PARTITION BY entry ORDER BY hash, audio_id) <= quota"
        )
        if self._first:
            old = _quoted(root / "candidates" / "part-*.parquet")
            database.execute(
                "DELETE FROM chosen WHERE audio_id IN "
                f"(SELECT audio_id FROM read_parquet('{old}'))"
            )
        self.counts = {
            "listed": str(_count(database, "ranked WHERE nth = 1")),
            "chosen": str(_count(database, "chosen")),
        }

    def _fill_entries(self, database: duckdb.DuckDBPyConnection) -> None:
        corpora = self._dataset.config.corpora
        available = dict.fromkeys(range(len(corpora)), 0)
        for entry, corpus in enumerate(corpora):
            share = 1.0 if corpus.sample is None else corpus.sample
            count = _count(
                database,
                "ranked WHERE nth = 1 AND entry = ? AND hash < ?",
                [entry, share],
            )
            available[entry] = count if corpus.limit is None else min(count, corpus.limit)
        quotas = _weighted(available, {e: c.weight for e, c in enumerate(corpora) if c.weight})
        for entry, corpus in enumerate(corpora):
            share = 1.0 if corpus.sample is None else corpus.sample
            database.execute("INSERT INTO entries VALUES (?, ?, ?)", [entry, share, quotas[entry]])

    def _cut(self, database: duckdb.DuckDBPyConnection) -> Iterator[PartRecord]:
        size = self._dataset.config.part_size
        rows = _sorted_rows(database)
        number = self._first
        rejections: Iterable[Rejection] = _read_back(self._rejected)
        while True:
            part = [row for _, row in zip(range(size), rows, strict=False)]
            if not part and number > self._first:
                return
            # all rejections of a listing stand beside its first part
            yield write_rejections(self._dataset.root, self._step, number, rejections)
            rejections = ()
            yield write_part(
                self._dataset.root,
                f"candidates/{part_name(number)}",
                part,
                table=TABLES["candidates"],
                identity=self._step.identity,
            )
            self.numbers.append(number)
            number += 1


def _append(sink: TextIO, rejection: Rejection) -> None:
    sink.write(json.dumps(asdict(rejection)) + "\n")


def _read_back(path: Path) -> Iterator[Rejection]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            fields = json.loads(line)
            yield Rejection(**fields | {"reason": Reason(fields["reason"])})


def _count(
    database: duckdb.DuckDBPyConnection, rows: str, parameters: Sequence[float] = ()
) -> int:
    found = database.execute(f"SELECT count(*) FROM {rows}", list(parameters)).fetchall()
    return int(found[0][0])


def _weighted(available: Mapping[int, int], weights: Mapping[int, float]) -> dict[int, int]:
    """Cuts the weighted corpora to the largest sizes that stand in the given ratio."""
    scale = min((available[entry] / weight for entry, weight in weights.items()), default=0.0)
    return {
        entry: int(scale * weights[entry] + 1e-9) if entry in weights else count
        for entry, count in available.items()
    }


def _sorted_rows(database: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    result = database.sql(f"SELECT {_COLUMNS} FROM chosen ORDER BY entry, audio_id")
    for batch in result.to_arrow_reader(_BATCH_ROWS):
        yield from batch.to_pylist()


def _duplicate(audio_id: str) -> Rejection:
    return Rejection(
        row_id=audio_id,
        audio_id=audio_id,
        step="candidates",
        reason=Reason.DUPLICATE_ID,
        detail="this id must be listed once; the first one listed is kept",
    )


def _row_of(candidate: Candidate) -> dict[str, Any]:
    row = {name: getattr(candidate, name) for name in TABLES["candidates"].names()}
    return row | {
        "speaker": asdict(candidate.speaker),
        "source": asdict(candidate.source),
        "extra": json.dumps(dict(candidate.extra), sort_keys=True, ensure_ascii=False),
    }


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
