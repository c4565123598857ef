"""Nothing is there twice, and what goes by one name is one thing."""

from sllm_data.validation.rules import Rule
from sllm_data.validation.views import Views

RULES = (
    Rule(
        name="audio_twice",
        level=3,
        meaning="no two clips that are used have the same decoded samples",
    ),
    Rule(
        name="sample_twice",
        level=3,
        meaning="a clip is asked the same task with the same parameters in the same words once",
    ),
    Rule(
        name="wording_source",
        level=3,
        meaning="one wording comes from one pool file, one template from one template file",
        weight="warning",
        foreign="warning",
    ),
)


def check(views: Views) -> None:
    """Asks all questions that the tables at hand can answer."""
    if "audio" in views.tables:
        _audio(views)
    if "samples" in views.tables:
        _doubled_samples(views)
        _origins(views, "instruction_id", "pool_sha256")
        _origins(views, "template_id", "template_sha256")


def _audio(views: Views) -> None:
    """Clips that the index does not keep may be doubles: that is why they are not kept."""
    used = "SELECT * FROM audio"
    if "index" in views.tables:
        used += " WHERE audio_id IN (SELECT audio_id FROM index_rows WHERE kept)"
    views.note(
        "audio_twice",
        "pcm_sha256",
        f"""
        WITH used AS ({used}), {_again("used", "pcm_sha256", "audio_id")}
        SELECT file, place, row, pcm_sha256 AS value,
            format('the clip must not have the decoded samples of {{}}, {{}}', first_row,
                first_file) AS message
        FROM ranked WHERE nth > 1""",
    )


def _doubled_samples(views: Views) -> None:
    views.note(
        "sample_twice",
        "instruction_id",
        f"""
        WITH {_again("fingerprints", "cell", "file, place")}
        SELECT file, place, row, instruction_id AS value,
            format('its clip must be asked this once, is by {{}} in {{}} too', first_row,
                first_file) AS message
        FROM ranked WHERE nth > 1""",
    )


def _again(rows: str, key: str, order: str) -> str:
    """The rows whose key is there more than once, as the common table `ranked`.

    The keys are grouped first, without anything beside them: that spills to disk, a ranking
    of all rows would be slow and the first row of every key held in memory.
    """
    return f"""doubled AS (
            SELECT {key} FROM {rows} GROUP BY {key} HAVING count(*) > 1
        ), ranked AS (
            SELECT *, row_number() OVER same AS nth, first_value(row) OVER same AS first_row,
                first_value(file) OVER same AS first_file
            FROM {rows} SEMI JOIN doubled USING ({key})
            WINDOW same AS (PARTITION BY {key} ORDER BY {order})
        )"""


def _origins(views: Views, name: str, origin: str) -> None:
    views.note(
        "wording_source",
        origin,
        f"""
        WITH counted AS (
            SELECT {name} AS name, {origin} AS origin, count(*) AS num,
                min({{'file': file, 'place': place, 'row': row}}) AS first
            FROM samples GROUP BY ALL
        ), ranked AS (
            SELECT *, row_number() OVER homes AS rank, first_value(origin) OVER homes AS home
            FROM counted WINDOW homes AS (PARTITION BY name ORDER BY num DESC, origin)
        )
        SELECT first.file, first.place, first.row, origin AS value,
            format('{{}} comes from {{}} in most rows, in {{}} from here', name, home, num)
                AS message
        FROM ranked WHERE rank > 1""",
    )
