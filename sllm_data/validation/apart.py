"""Level 3 with `--against`: no training row has anything of the test rows of other datasets.

Asked of a training set and a frozen benchmark: whoever trains on the one must not have met the
other. Clips are compared by their decoded samples, transcripts without casing and punctuation,
speakers by corpus and id.
"""

from dataclasses import replace
from pathlib import Path

from sllm_data.errors import OutputError
from sllm_data.shards.database import parquet, quoted
from sllm_data.validation.findings import Tally
from sllm_data.validation.fingerprints import write_fingerprints
from sllm_data.validation.opening import listed_files, parts_among
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part, Subject
from sllm_data.validation.views import Views

_HAS = "of another dataset (`--against`) is"
RULES = (
    Rule(
        name="against_clip",
        level=3,
        meaning=f"no clip that a test row {_HAS} about is in a row of train",
    ),
    Rule(
        name="against_speaker",
        level=3,
        meaning=f"no speaker that a test row {_HAS} spoken by is heard in a row of train",
    ),
    Rule(
        name="against_transcript",
        level=3,
        meaning=f"nothing that a test row {_HAS} about is said in a row of train",
    ),
    Rule(
        name="against_wording",
        level=3,
        meaning=f"no wording that a row {_HAS} held out for is in a row of train",
    ),
    Rule(
        name="against_task",
        level=3,
        meaning=f"no task that a row {_HAS} held out for is in a row of train",
    ),
)

_TRAINED = "split = 'train' AND eval_group = 'train'"


def check(views: Views) -> None:
    """Asks all questions, of each of the other datasets."""
    for number, root in enumerate(views.subject.against):
        _add_tables(views, root, number)
        name = quoted(root.resolve().name)
        if views.tables >= {"samples", "audio"}:
            _clips(views, name)
        if "samples" in views.tables:
            _speakers(views, name)
            _transcripts(views, name)
            _held_out(views, name, "wording", "instruction_id", "held_out_instruction")
            _held_out(views, name, "task", "task", "held_out_task")


def _add_tables(views: Views, root: Path, number: int) -> None:
    """Makes the tables `tested` and `tested_clips`, and the view `tested_prints`."""
    parts = parts_among(sorted(listed_files(root)), Tally(0))
    other = _other(views.subject, root, parts, number)
    samples, audio = (
        parquet(other.path(part) for part in other.parts_of(table))
        for table in ("samples", "audio")
    )
    prints = write_fingerprints(other, Tally(0))
    views.connection.execute(
        "CREATE OR REPLACE TABLE tested AS SELECT task, eval_group, instruction_id, audio_refs, "
        f"speakers, coalesce(source.corpus, '') AS corpus FROM {samples} WHERE split <> 'train'"
    )
    views.connection.execute(
        "CREATE OR REPLACE TABLE tested_clips AS SELECT DISTINCT pcm_sha256 FROM "
        f"{audio} SEMI JOIN (SELECT unnest(audio_refs).audio_id AS audio_id FROM tested) "
        "USING (audio_id)"
    )
    views.connection.execute(
        "CREATE OR REPLACE VIEW tested_prints AS SELECT DISTINCT transcript FROM "
        f"{prints} WHERE split <> 'train' AND transcript IS NOT NULL"
    )


def _other(subject: Subject, root: Path, parts: tuple[Part, ...], number: int) -> Subject:
    missing = {"samples", "audio"} - {part.table for part in parts}
    if missing:
        raise OutputError(
            f"{root}: must be a dataset or a benchmark with samples/ and audio/ to compare with, "
            f"has no parts of {min(missing)}/"
        )
    scratch = subject.scratch / f"against-{number}"
    scratch.mkdir()
    return replace(subject, root=root, parts=parts, scratch=scratch)


def _clips(views: Views, name: str) -> None:
    views.note(
        "against_clip",
        "audio_refs",
        f"""
        WITH trained AS (
            SELECT file, place, row, unnest(audio_refs).audio_id AS audio_id FROM samples
            WHERE {_TRAINED}
        )
        SELECT trained.file, trained.place, trained.row, audio_id AS value,
            'its clip must not be one of the test rows of ' || {name} AS message
        FROM trained JOIN audio USING (audio_id) SEMI JOIN tested_clips USING (pcm_sha256)""",
    )


def _speakers(views: Views, name: str) -> None:
    views.note(
        "against_speaker",
        "speakers",
        f"""
        WITH trained AS (
            SELECT file, place, row, corpus, unnest(speakers).id AS speaker FROM samples
            WHERE {_TRAINED}
        ), heard AS (SELECT DISTINCT corpus, unnest(speakers).id AS speaker FROM tested)
        SELECT file, place, row, speaker AS value,
            'a speaker of ' || corpus || ' must not be heard in the test rows of ' || {name}
                AS message
        FROM trained SEMI JOIN heard USING (corpus, speaker)""",
    )


def _transcripts(views: Views, name: str) -> None:
    views.note(
        "against_transcript",
        "transcript",
        f"""
        SELECT file, place, row, said AS value,
            'must not be said in the test rows of ' || {name} || ' too' AS message
        FROM fingerprints SEMI JOIN (SELECT row FROM samples WHERE {_TRAINED}) USING (row)
        SEMI JOIN tested_prints USING (transcript)""",
    )


def _held_out(views: Views, name: str, what: str, column: str, group: str) -> None:
    views.note(
        f"against_{what}",
        column,
        f"""
        SELECT file, place, row, {column} AS value,
            'a {what} that ' || {name} || ' holds out must not be trained on' AS message
        FROM samples WHERE {_TRAINED}
            AND {column} IN (SELECT {column} FROM tested WHERE eval_group = '{group}')""",
    )
