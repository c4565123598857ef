"""What the corpora list and which of it a run takes: the work before candidates are cut.

1. Every corpus is read once; its rows go to a table in a scratch folder, unsorted.
2. DuckDB (which spills to disk) drops repeated ids and those an earlier extension has,
   applies `sample`, `limit` and `weight` by hash order, and sorts by (corpus, audio_id).

Nothing is written but the scratch folder, so that `growth` can ask what is new without
touching a dataset. What a corpus lists no more stays in the dataset, and counts to its limit.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import duckdb
import pyarrow as pa

from sllm_data.corpora.reading import read_corpus
from sllm_data.errors import CorpusError
from sllm_data.files import writing
from sllm_data.records import Candidate, Reason, Rejection
from sllm_data.seeding import uniform
from sllm_data.shards import TABLES, Column, Table, write_part
from sllm_data.shards.database import parquet
from sllm_data.steps.database import open_database
from sllm_data.steps.dataset import Dataset

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What was chosen, to be read while its scratch folder stands."""

    listed: int
    """Utterances that the corpora list, each once."""
    chosen: int
    """Of these, those that are new and within `sample`, `limit` and `weight`."""
    scratch: Path
    database: duckdb.DuckDBPyConnection
    old_rejections: tuple[Path, ...]
    """Parts of rejections that an earlier extension wrote."""

    def rows(self) -> Iterator[Row]:
        """The chosen candidates, in canonical order."""
        listed = parquet([self.scratch / "listed.parquet"])
        result = self.database.sql(
            f"SELECT {_COLUMNS} FROM {listed} SEMI JOIN chosen USING (position) "
            "ORDER BY entry, audio_id"
        )
        for batch in result.to_arrow_reader(_BATCH_ROWS):
            yield from batch.to_pylist()

    def rejections(self) -> Iterator[Rejection]:
        """What can't be used, less what an earlier extension has rejected for the same reason."""
        found = _read_back(self.scratch / "rejected.jsonl")
        while batch := list(islice(found, _BATCH_ROWS)):
            known = self._known(batch)
            yield from (each for each in batch if (each.row_id, str(each.reason)) not in known)

    def _known(self, batch: Sequence[Rejection]) -> set[tuple[str, str]]:
        if not self.old_rejections:
            return set()
        mine = pa.table(
            {
                "row_id": [each.row_id for each in batch],
                "reason": [str(each.reason) for each in batch],
            }
        )
        # rows may be on their way from the database itself
        found = (
            self.database.cursor()
            .execute(
                f"SELECT row_id, reason FROM {parquet(self.old_rejections)} "
                "SEMI JOIN mine USING (row_id, reason)"
            )
            .fetchall()
        )
        del mine  # DuckDB reads it by its name
        return {(row_id, reason) for row_id, reason in found}


@contextmanager
def selected(dataset: Dataset, scratch: Path, *, num_old: int) -> Iterator[Selection]:
    """Reads all corpora and selects; what it yields stands for the length of a block.

    Args:
        dataset: Whose configuration says what to read; only read.
        scratch: A folder for what is listed.
        num_old: Parts of candidates that earlier extensions made.

    Raises:
        CorpusError: A corpus can't be read, or lists nothing.
        OutputError: The scratch folder can't be written.
    """
    old = [dataset.part("candidates", number) for number in range(num_old)]
    rejected = scratch / "rejected.jsonl"
    with (
        writing(rejected),
        rejected.open("w", encoding="utf-8") as sink,
        open_database(scratch, memory_limit=_MEMORY_LIMIT) as database,
    ):
        write_part(
            scratch, "listed.parquet", _listed(dataset, sink), table=LISTED, identity="listed"
        )
        _select(dataset, database, scratch / "listed.parquet", old, sink)
        sink.flush()
        yield Selection(
            listed=_count(database, "listed"),
            chosen=_count(database, "chosen"),
            scratch=scratch,
            database=database,
            old_rejections=tuple(
                dataset.part("rejections/candidates", number) for number in range(num_old)
            ),
        )


def _listed(dataset: Dataset, sink: TextIO) -> Iterator[Row]:
    config = dataset.config
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


def _select(
    dataset: Dataset,
    database: duckdb.DuckDBPyConnection,
    listed: Path,
    old: Sequence[Path],
    sink: TextIO,
) -> None:
    """Makes `chosen` (entry, position): unique, new, and within sample, limit and weight.

    Only ids, hashes and positions are looked at: rows with their texts are read once, when
    they are sorted.
    """
    database.execute(
        f"CREATE TABLE ids AS SELECT audio_id, entry, hash, position FROM {parquet([listed])}"
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
    database.execute(
        "CREATE TABLE old AS SELECT audio_id, entry FROM "
        + (parquet(old) if old else "listed WHERE false")
    )
    database.execute("CREATE TABLE entries (entry INTEGER, share DOUBLE, quota BIGINT)")
    _fill_entries(dataset, database)
    database.execute(
        "CREATE TABLE chosen AS SELECT listed.entry, listed.audio_id, listed.position "
        "FROM listed JOIN entries USING (entry) ANTI JOIN old ON old.audio_id = listed.audio_id "
        "WHERE hash < share "
        "QUALIFY row_number() OVER (PARTITION BY entry ORDER BY hash, audio_id) <= quota"
    )


def _fill_entries(dataset: Dataset, database: duckdb.DuckDBPyConnection) -> None:
    """Fills in how many more utterances each corpus may give."""
    corpora = dataset.config.corpora
    available = dict.fromkeys(range(len(corpora)), 0)
    for entry, corpus in enumerate(corpora):
        share = 1.0 if corpus.sample is None else corpus.sample
        count = _count(
            database,
            "(SELECT audio_id FROM listed WHERE entry = ? AND hash < ? "
            "UNION SELECT audio_id FROM old WHERE entry = ?)",
            [entry, share, entry],
        )
        available[entry] = count if corpus.limit is None else min(count, corpus.limit)
    quotas = _weighted(available, {e: c.weight for e, c in enumerate(corpora) if c.weight})
    for entry, corpus in enumerate(corpora):
        share = 1.0 if corpus.sample is None else corpus.sample
        left = quotas[entry] - _count(database, "old WHERE entry = ?", [entry])
        database.execute("INSERT INTO entries VALUES (?, ?, ?)", [entry, share, left])


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
