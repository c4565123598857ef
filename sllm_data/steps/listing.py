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
from sllm_data.errors import CorpusError
from sllm_data.files import writing
from sllm_data.records import Candidate, Reason, Rejection
from sllm_data.seeding import uniform
from sllm_data.shards import TABLES, Column, PartRecord, Table, part_name, write_part
from sllm_data.shards.database import parquet
from sllm_data.steps.database import open_database
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

_MEMORY_LIMIT = "192MB"  # the tokenizer, which is tried before, is in memory as well
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
        work = self._dataset.work
        with writing(work):
            for path in self._stale():
                path.unlink()
            work.mkdir(parents=True, exist_ok=True)
        with (
            writing(self._rejected),
            self._rejected.open("w", encoding="utf-8") as sink,
            open_database(work, memory_limit=_MEMORY_LIMIT) as database,
        ):
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
            is_empty = True
            for item in read_corpus(corpus, entry=entry, speaker_salt=config.speaker_salt):
                is_empty = False
                if isinstance(item, Rejection):
                    _append(sink, item)
                    continue
                yield _row_of(item) | {
                    "hash": uniform(config.seed, "select", item.audio_id),
                    "position": position,
                }
                position += 1
            if is_empty:
                raise CorpusError(
                    f"corpora.{entry} of kind {corpus.kind}: must list at least one utterance, "
                    "lists none; look at its tables, or remove the entry"
                )

    def _select(self, database: duckdb.DuckDBPyConnection, sink: TextIO) -> None:
        """Makes `chosen` (entry, position): unique, new, and within sample, limit and weight.

        Only ids, hashes and positions are looked at: rows with their texts are read once,
        when they are sorted.
        """
        root = self._dataset.root
        database.execute(
            "CREATE TABLE ids AS SELECT audio_id, entry, hash, position "
            f"FROM {parquet([root / '.work/listed.parquet'])}"
        )
        # entries are read in their order, so the first position is that of the first entry
        database.execute(
            "CREATE TABLE listed AS SELECT ids.* FROM ids SEMI JOIN "
            "(SELECT min(position) AS position FROM ids GROUP BY audio_id) USING (position)"
        )
        repeated = database.execute(
            "SELECT audio_id, count(*) - 1 FROM ids GROUP BY audio_id HAVING count(*) > 1 "
            "ORDER BY audio_id"
        )
        while row := repeated.fetchone():
            for _ in range(row[1]):
                _append(sink, _duplicate(row[0]))
        database.execute("DROP TABLE ids")
        database.execute("CREATE TABLE entries (entry INTEGER, share DOUBLE, quota BIGINT)")
        self._fill_entries(database)
        database.execute(
            "CREATE TABLE chosen AS SELECT listed.entry, listed.audio_id, listed.position "
            "FROM listed JOIN entries USING (entry) WHERE hash < share "
            "QUALIFY row_number() OVER (PARTITION BY entry ORDER BY hash, audio_id) <= quota"
        )
        if self._first:
            old = parquet(root.glob("candidates/part-*.parquet"))
            database.execute(f"DELETE FROM chosen WHERE audio_id IN (SELECT audio_id FROM {old})")
        self.counts = {
            "listed": str(_count(database, "listed")),
            "chosen": str(_count(database, "chosen")),
        }

    def _fill_entries(self, database: duckdb.DuckDBPyConnection) -> None:
        corpora = self._dataset.config.corpora
        available = dict.fromkeys(range(len(corpora)), 0)
        for entry, corpus in enumerate(corpora):
            share = 1.0 if corpus.sample is None else corpus.sample
            count = _count(
                database,
                "listed WHERE entry = ? AND hash < ?",
                [entry, share],
            )
            available[entry] = count if corpus.limit is None else min(count, corpus.limit)
        quotas = _weighted(available, {e: c.weight for e, c in enumerate(corpora) if c.weight})
        for entry, corpus in enumerate(corpora):
            share = 1.0 if corpus.sample is None else corpus.sample
            database.execute("INSERT INTO entries VALUES (?, ?, ?)", [entry, share, quotas[entry]])

    def _sorted_rows(self, database: duckdb.DuckDBPyConnection) -> Iterator[Row]:
        listed = parquet([self._dataset.root / ".work/listed.parquet"])
        result = database.sql(
            f"SELECT {_COLUMNS} FROM {listed} SEMI JOIN chosen USING (position) "
            "ORDER BY entry, audio_id"
        )
        for batch in result.to_arrow_reader(_BATCH_ROWS):
            yield from batch.to_pylist()

    def _cut(self, database: duckdb.DuckDBPyConnection) -> Iterator[PartRecord]:
        size = self._dataset.config.part_size
        rows = self._sorted_rows(database)
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
