"""index: the one global pass. Which utterances are used, in which split, for which tasks.

It reads a few columns of all audio parts through DuckDB, which spills to disk, and writes
one index part for each audio part. In an extension the rows of earlier extensions stand:
their clips win over duplicates, their speakers keep their splits, and tasks that are new
get index parts of their own over the old audio.

1. Exact duplicates (same decoded samples): the row of the earliest extension stays, then
   the lowest audio_id.
2. Splits: the corpus's own or by hash of the speaker. A speaker met in two splits stays in
   test, else validation; those rows leave the other split. Unknown speakers: train only.
3. Tasks: a weighted draw per utterance, or exact quotas within each split.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import duckdb
import pyarrow as pa

from sllm_data.records import IndexRow, Reason, Rejection
from sllm_data.sampling import split_of_speaker
from sllm_data.shards import TABLES, PartRecord, part_name, read_part, write_part
from sllm_data.shards.database import parquet
from sllm_data.steps.database import open_database
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.parts import Records, Step, StepReport, finish_parts, write_rejections
from sllm_data.steps.tasks import Admitted, TaskChooser

_TEXTS = ["audio_id", "language", "transcript", "speaker"]
_DECISIVE = ["pcm_sha256", "entry", "corpus_split", "source"]
_PLACE = ("filename = true", "file_row_number = true")
_SPLIT_ORDER = "CASE split WHEN 'test' THEN 0 WHEN 'validation' THEN 1 ELSE 2 END"


def index(dataset: Dataset) -> StepReport:
    """Decides for every stored utterance whether and how it is used.

    Raises:
        RejectedError: Too many utterances can't be used.
    """
    step = Step(
        name="index",
        folders=("rejections/index", "index"),
        identity=expected_identity(dataset, "index"),
        inputs=("ingest",),
    )
    old = dataset.manifest("index")
    first = sum(part.file.startswith("index/") for part in old.parts) if old else 0
    if old is not None and old.extension == dataset.extension:
        return finish_parts(dataset, step, range(first), lambda _: ())
    plans = _plans(dataset, first)

    def make(missing: Sequence[int]) -> Iterator[Records]:
        if missing:
            with open_database(dataset.work) as database:
                _decide(dataset, database, first)
                chooser = TaskChooser(dataset, database)
                for plan in plans:
                    if plan.number in missing:
                        yield _write(dataset, step, plan, database, chooser)

    of_audio = {f"{plan.number}": str(plan.audio_part) for plan in plans}
    extra = {**(old.extra if old else {}), **of_audio}
    return finish_parts(dataset, step, range(first + len(plans)), make, extra=lambda _: extra)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """One index part that this extension makes."""

    number: int
    audio_part: int
    base: int | None
    """For a growth part: the index part of an earlier extension over the same audio."""


def _plans(dataset: Dataset, first: int) -> list[_Plan]:
    """New audio parts first, then the growth parts over the audio of earlier extensions."""
    audio = [p for p in dataset.finished("ingest").parts if p.file.startswith("audio/")]
    old = dataset.manifest("index")
    bases: dict[int, int] = {}
    for number, audio_part in (old.extra if old else {}).items():
        bases.setdefault(int(audio_part), int(number))
    pairs: list[tuple[int, int | None]] = [(k, None) for k in range(len(audio)) if k not in bases]
    if dataset.extension and set(dataset.extensions[-1]["tasks"]) - set(
        dataset.extensions[-2]["tasks"]
    ):
        pairs += sorted(bases.items())
    return [
        _Plan(number=first + offset, audio_part=audio_part, base=base)
        for offset, (audio_part, base) in enumerate(pairs)
    ]


def _decide(dataset: Dataset, database: duckdb.DuckDBPyConnection, first: int) -> None:
    """Makes `stored`, `verdicts` (fresh clips) and `admitted` (clips that get tasks)."""
    database.execute(
        "CREATE VIEW stored AS SELECT audio_id, transcript, language, pcm_sha256, entry, "
        "corpus_split, source.corpus AS corpus, speaker.id AS speaker, "
        "speaker.emotion AS emotion, file_row_number AS row, "
        "CAST(regexp_extract(filename, 'part-(\\d+)[.]parquet$', 1) AS INTEGER) AS audio_part "
        f"FROM {parquet(dataset.root.glob('audio/part-*.parquet'), *_PLACE)}"
    )
    if first:
        # growth parts repeat rows of base parts, hence DISTINCT
        database.execute(
            "CREATE TABLE earlier AS SELECT DISTINCT audio_id, audio_part, kept, split FROM "
            f"{parquet(dataset.root.glob('index/part-*.parquet'), *_PLACE)} "
            "WHERE CAST(regexp_extract(filename, 'part-(\\d+)[.]parquet$', 1) AS INTEGER) < "
            f"{first}"
        )
    else:
        database.execute(
            "CREATE TABLE earlier (audio_id VARCHAR, audio_part INTEGER, kept BOOLEAN, "
            "split VARCHAR)"
        )
    database.execute(
        "CREATE TABLE fresh AS SELECT stored.* EXCLUDE (transcript) FROM stored "
        "WHERE audio_part NOT IN (SELECT DISTINCT audio_part FROM earlier)"
    )
    _decide_splits(dataset, database)
    database.execute(_VERDICTS)
    database.execute(
        "CREATE TABLE admitted AS "
        "SELECT audio_id, split, false AS growth FROM verdicts WHERE reason IS NULL "
        "UNION ALL SELECT audio_id, split, true FROM earlier WHERE kept"
    )


def _decide_splits(dataset: Dataset, database: duckdb.DuckDBPyConnection) -> None:
    """Makes `hashed` (split of each speaker by hash) and `modes` (how each entry splits)."""
    config = dataset.config
    database.execute("CREATE TABLE hashed (corpus VARCHAR, speaker VARCHAR, hash_split VARCHAR)")
    speakers = database.cursor().execute(
        "SELECT DISTINCT corpus, speaker FROM fresh WHERE speaker IS NOT NULL"
    )
    while pairs := speakers.fetchmany(10_000):
        splits = [
            split_of_speaker(config.splits, seed=config.seed, corpus=corpus, speaker_id=speaker)
            for corpus, speaker in pairs
        ]
        rows = pa.table(
            {
                "corpus": [corpus for corpus, _ in pairs],
                "speaker": [speaker for _, speaker in pairs],
                "hash_split": splits,
            }
        )
        database.execute("INSERT INTO hashed SELECT * FROM rows")
        del rows  # DuckDB reads it by its name
    database.execute("CREATE TABLE modes (entry INTEGER, mode VARCHAR)")
    for entry, corpus in enumerate(config.corpora):
        database.execute("INSERT INTO modes VALUES (?, ?)", [entry, corpus.split])


_VERDICTS = f"""
CREATE TABLE verdicts AS
WITH twins AS (
    SELECT audio_id, first_value(audio_id) OVER (
        PARTITION BY pcm_sha256 ORDER BY e.audio_id IS NULL, stored.entry, audio_id) AS winner
    FROM stored LEFT JOIN earlier e USING (audio_id)
), placed AS (
    SELECT fresh.*, twins.winner, CASE mode
        WHEN 'train' THEN 'train'
        WHEN 'corpus' THEN coalesce(corpus_split, 'train')
        WHEN 'hash' THEN coalesce(hash_split, 'train')
        ELSE coalesce(corpus_split, hash_split, 'train') END AS split
    FROM fresh JOIN twins USING (audio_id) JOIN modes USING (entry)
    LEFT JOIN hashed ON hashed.corpus = fresh.corpus AND hashed.speaker = fresh.speaker
), met AS (
    SELECT corpus, speaker, split, 1 AS fresh FROM placed
    WHERE speaker IS NOT NULL AND winner = audio_id
    UNION ALL
    SELECT stored.corpus, stored.speaker, earlier.split, 0 FROM earlier
    JOIN stored USING (audio_id) WHERE kept AND speaker IS NOT NULL
), homes AS (
    SELECT corpus, speaker, first(split ORDER BY fresh, {_SPLIT_ORDER}) AS home
    FROM met GROUP BY corpus, speaker
)
SELECT placed.audio_id, audio_part, row, placed.split, winner, home, CASE
    WHEN winner <> placed.audio_id THEN '{Reason.DUPLICATE_AUDIO}'
    WHEN placed.speaker IS NULL AND placed.split <> 'train' THEN '{Reason.UNKNOWN_SPEAKER}'
    WHEN home <> placed.split THEN '{Reason.SPLIT_CONFLICT}' END AS reason
FROM placed LEFT JOIN homes
    ON homes.corpus = placed.corpus AND homes.speaker = placed.speaker
"""


def _write(
    dataset: Dataset,
    step: Step,
    plan: _Plan,
    database: duckdb.DuckDBPyConnection,
    chooser: TaskChooser,
) -> Records:
    rows, rejections = _rows(dataset, plan, database, chooser)
    counts: dict[str, Counter[str]] = {"splits": Counter(), "tasks": Counter()}
    for row in rows:
        if row.kept:
            counts["splits"][str(row.split)] += 1
            counts["tasks"].update(row.tasks)
    rejected = write_rejections(dataset.root, step, plan.number, rejections)
    part: PartRecord = write_part(
        dataset.root,
        f"index/{part_name(plan.number)}",
        [asdict(row) for row in rows],
        table=TABLES["index"],
        identity=step.identity,
        counts=counts,
    )
    return rejected, part


def _rows(
    dataset: Dataset, plan: _Plan, database: duckdb.DuckDBPyConnection, chooser: TaskChooser
) -> tuple[list[IndexRow], list[Rejection]]:
    # all that the database read of this part, since only this reading verifies checksums
    audio = read_part(dataset.part("audio", plan.audio_part), [*_TEXTS, *_DECISIVE])
    texts = {row["audio_id"]: row for row in audio.select(_TEXTS).to_pylist()}
    if plan.base is None:
        verdicts = database.execute(
            "SELECT audio_id, split, reason, winner, home FROM verdicts WHERE audio_part = ? "
            "ORDER BY row",
            [plan.audio_part],
        ).fetchall()
    else:
        base = read_part(dataset.part("index", plan.base)).to_pylist()
        verdicts = [(r["audio_id"], r["split"], None, None, None) for r in base if r["kept"]]
    admitted = [
        Admitted(
            audio_id=audio_id,
            language=texts[audio_id]["language"],
            transcript=texts[audio_id]["transcript"],
            split=split,
            emotion=texts[audio_id]["speaker"]["emotion"],
        )
        for audio_id, split, reason, *_ in verdicts
        if reason is None
    ]
    growth = plan.base is not None
    tasks = dict(
        zip((a.audio_id for a in admitted), chooser.choose(admitted, growth=growth), strict=True)
    )
    rows, rejections = [], []
    for audio_id, split, found, winner, home in verdicts:
        given = tasks.get(audio_id, ())
        reason = found if found or given or growth else str(Reason.NO_ELIGIBLE_TASK)
        rows.append(
            IndexRow(
                audio_id=audio_id,
                audio_part=plan.audio_part,
                kept=reason is None,
                reason=reason,
                split=split if reason is None else None,
                tasks=given,
            )
        )
        if reason is not None:
            rejections.append(_rejection(audio_id, Reason(reason), winner, home, split))
    return rows, rejections


def _rejection(
    audio_id: str, reason: Reason, winner: str | None, home: str | None, split: str
) -> Rejection:
    details: Mapping[Reason, str] = {
        Reason.DUPLICATE_AUDIO: f"its samples are those of {winner}, which is kept",
        Reason.UNKNOWN_SPEAKER: f"the speaker must be known outside train, the split is {split}",
        Reason.SPLIT_CONFLICT: f"its speaker is in {home}, so can't be in {split} too",
        Reason.NO_ELIGIBLE_TASK: "no task may be asked of its language, length and split",
    }
    return Rejection(
        row_id=audio_id, audio_id=audio_id, step="index", reason=reason, detail=details[reason]
    )
