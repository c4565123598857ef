"""The tables of a dataset as DuckDB sees them at level 3, and how its answers become findings.

Every view has `file` (relative to the dataset), `place` (number of the row in its part) and
`row` (its key). A question is a query for the rows that are wrong: columns file, place, row,
value, message.
"""

import duckdb

from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.subject import Subject

_SAMPLES = (
    "sample_id AS row, task, split, eval_group, instruction_id, template_id, "
    "pool_sha256, template_sha256, language, response_language, num_response_tokens, "
    "audio_refs, speakers, coalesce(source.corpus, '') AS corpus, generator.engine AS engine, "
    "quality.copy_rate AS copy_rate, "
    "CASE WHEN json_valid(task_params) THEN json_extract_string(task_params, '$.to') END AS target"
)
_INDEX = "audio_id AS row, audio_id, kept, split"
_AUDIO = (
    "audio_id AS row, audio_id, pcm_sha256, speaker.id AS speaker, "
    "coalesce(source.corpus, '') AS corpus"
)


class Views:
    """A connection that has the views `samples`, `index_rows`, `audio`, `fingerprints`."""

    def __init__(
        self,
        subject: Subject,
        tally: Tally,
        connection: duckdb.DuckDBPyConnection,
        fingerprints: str,
    ) -> None:
        self.subject = subject
        self.tally = tally
        self.connection = connection
        self.tables = frozenset(part.table for part in subject.parts)
        """Tables that have parts; there is no view of the others."""
        for name, table, columns in (
            ("samples", "samples", _SAMPLES),
            ("index_rows", "index", _INDEX),
            ("audio", "audio", _AUDIO),
        ):
            if table in self.tables:
                self._view(name, table, columns)
        if "samples" in self.tables:
            connection.execute(f"CREATE VIEW fingerprints AS SELECT * FROM {fingerprints}")

    def _view(self, name: str, table: str, columns: str) -> None:
        before = len(str(self.subject.root / table)) - len(table)
        self.connection.execute(
            f"CREATE VIEW {name} AS SELECT substr(filename, {before + 1}) AS file, "
            f"file_row_number AS place, {columns} FROM "
            f"{self.subject.rows_of(table, 'filename = true', 'file_row_number = true')}"
        )

    def note(self, rule: str, column: str, wrong: str) -> None:
        """Adds the rows that a query finds: all are counted, the first ones are kept.

        Args:
            rule: Its name.
            column: The column to name.
            wrong: A query for file, place, row, value, message.
        """
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE wrong AS {wrong}")
        num_wrong = self.number("SELECT count(*) FROM wrong")
        first = self.connection.execute(
            "SELECT file, row, value, message FROM wrong ORDER BY file, place "
            f"LIMIT {self.tally.keep}"
        ).fetchall()
        for file, row, value, message in first:
            self.tally.add(
                Finding(
                    rule=rule,
                    part=file,
                    row=shown(row),
                    column=column,
                    value=shown(value),
                    message=message,
                )
            )
        self.tally.count_more(rule, num_wrong - len(first))

    def number(self, query: str) -> int:
        """The one number that a query answers."""
        return int(self.connection.execute(query).fetchall()[0][0])
