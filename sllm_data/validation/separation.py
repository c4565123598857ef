"""Splits stay apart: nobody is heard in two of them, no clip is in two of them.

Asked of the samples and, where there is one, of the index. Wordings and tasks that are kept
from train are for `held_out`.
"""

from sllm_data.validation.rules import Rule
from sllm_data.validation.views import Views

RULES = (
    Rule(
        name="speaker_splits",
        level=3,
        meaning="a speaker of a corpus is heard in one split only, in the samples and in the "
        "index",
    ),
    Rule(
        name="speaker_unknown",
        level=3,
        meaning="the speakers of validation and test are known: nobody could tell otherwise "
        "that they are not heard in train",
        foreign="warning",
    ),
    Rule(
        name="clip_splits",
        level=3,
        meaning="a clip is used in one split only, in the samples and in the index",
    ),
    Rule(
        name="shared_transcripts",
        level=3,
        meaning="what is said in validation and test is not said in train, casing and "
        "punctuation aside; more than the contract's `max_shared_transcripts` of the rows "
        "(0 without one) are reported",
        weight="warning",
        foreign="warning",
    ),
)


def check(views: Views) -> None:
    """Asks all questions that the tables at hand can answer."""
    if "samples" in views.tables:
        _of_samples(views)
    if {"index", "audio"} <= views.tables:
        _speakers(views, _IN_INDEX)
        _clips(views, "SELECT file, place, row, split, audio_id FROM index_rows WHERE kept")


def _of_samples(views: Views) -> None:
    _speakers(views, _IN_SAMPLES)
    _clips(
        views,
        "SELECT file, place, row, split, unnest(audio_refs).audio_id AS audio_id FROM samples",
    )
    views.note(
        "speaker_unknown",
        "speakers",
        "SELECT file, place, row, '' AS value, "
        "'the speaker of a row of ' || split || ' must be known' AS message FROM samples "
        "WHERE split <> 'train' AND len([s FOR s IN speakers IF s.id IS NULL]) > 0",
    )
    _transcripts(views)


_IN_SAMPLES = """
SELECT file, place, row, split, corpus, unnest(speakers).id AS speaker FROM samples
"""
_IN_INDEX = """
SELECT i.file, i.place, i.row, split, corpus, speaker
FROM index_rows i JOIN audio USING (audio_id) WHERE kept
"""


def _speakers(views: Views, heard: str) -> None:
    """Home of a speaker is the split with most of the rows; the others are wrong."""
    views.note(
        "speaker_splits",
        "speakers",
        f"""
        WITH counted AS (
            SELECT corpus, speaker, split, count(*) AS num,
                min({{'file': file, 'place': place, 'row': row}}) AS first
            FROM ({heard}) WHERE speaker IS NOT NULL AND split IS NOT NULL GROUP BY ALL
        ), ranked AS (
            SELECT *, row_number() OVER homes AS rank, first_value(split) OVER homes AS home,
                first_value(num) OVER homes AS num_home
            FROM counted
            WINDOW homes AS (PARTITION BY corpus, speaker ORDER BY num DESC, split)
        )
        SELECT first.file, first.place, first.row, speaker AS value,
            format('a speaker of {{}} must be in one split, has {{}} rows in {{}} '
                'and {{}} in {{}}', corpus, num_home, home, num, split) AS message
        FROM ranked WHERE rank > 1""",
    )


def _clips(views: Views, used: str) -> None:
    views.note(
        "clip_splits",
        "split",
        f"""
        WITH used AS ({used}), torn AS (
            SELECT audio_id, CASE WHEN bool_or(split = 'train') THEN 'train' ELSE 'validation' END
                AS home
            FROM used GROUP BY audio_id
            HAVING bool_or(split = 'train')::INT + bool_or(split = 'validation')::INT
                + bool_or(split = 'test')::INT > 1
        ), ranked AS (
            SELECT used.*, home,
                row_number() OVER (PARTITION BY audio_id, split ORDER BY file, place) AS nth
            FROM used JOIN torn USING (audio_id) WHERE split <> home
        )
        SELECT file, place, row, split AS value,
            format('its clip {{}} must be in one split, is in {{}} too', audio_id, home) AS message
        FROM ranked WHERE nth = 1""",
    )


def _transcripts(views: Views) -> None:
    bound = views.subject.contract.max_shared_transcripts or 0.0
    views.connection.execute(
        """
        CREATE TEMP TABLE shared AS
        WITH tested AS (SELECT * FROM fingerprints WHERE split <> 'train'), heard AS (
            SELECT transcript, min({'file': file, 'place': place, 'row': row}).row AS example
            FROM fingerprints
            WHERE split = 'train' AND transcript IN (SELECT transcript FROM tested)
            GROUP BY transcript
        )
        SELECT tested.*, example FROM tested JOIN heard USING (transcript)"""
    )
    num_shared = views.number("SELECT count(*) FROM shared")
    num_tested = views.number("SELECT count(*) FROM fingerprints WHERE split <> 'train'")
    if not num_shared or num_shared / num_tested <= bound:
        return
    views.note(
        "shared_transcripts",
        "transcript",
        f"""
        SELECT file, place, row, said AS value,
            format('said in train too, by {{}}; so are {num_shared} of {num_tested} rows of '
                'validation and test', example) AS message FROM shared""",
    )
