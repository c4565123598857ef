"""Level 1: the counts in a part's footer, counted again from its rows.

Statistics and cards are made from these counts alone, so a dataset is described by what its
footers say, not by what is in it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from sllm_data.validation.findings import Finding
from sllm_data.validation.footers import counts_in
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part

RULES = (
    Rule(
        name="row_counts",
        level=1,
        meaning="the counts in a footer (rows and milliseconds by language, splits, tasks, "
        "tokens, verdicts, reasons) are those of the part's rows",
        foreign="off",
    ),
)

# by table and kind: the name and the number that each row adds, over the view `batch`
_SUMS: Mapping[str, Mapping[str, str]] = {
    "audio": {
        "rows": "SELECT language, 1 FROM batch",
        "milliseconds": "SELECT language, round_even(1000 * duration_s, 0) FROM batch",
    },
    "index": {
        "splits": "SELECT split, 1 FROM batch WHERE kept",
        "tasks": "SELECT unnest(tasks), 1 FROM batch WHERE kept",
    },
    "alignments": {"backends": "SELECT backend, 1 FROM batch"},
    "requests": {
        "tasks": "SELECT task, 1 FROM batch",
        "targets": "SELECT target, 1 FROM batch",
        "prompt_tokens": "SELECT task, len(prompt_token_ids) FROM batch",
    },
    "responses": {
        "finish_reasons": "SELECT finish_reason, 1 FROM batch",
        "tokens": "SELECT 'prompt', num_prompt_tokens FROM batch UNION ALL "
        "SELECT 'response', num_response_tokens FROM batch UNION ALL "
        "SELECT 'cached', coalesce(num_cached_tokens, 0) FROM batch",
    },
    "samples": {
        "tasks": "SELECT task, 1 FROM batch",
        "languages": "SELECT language, 1 FROM batch",
        "splits": "SELECT split, 1 FROM batch",
        "eval_groups": "SELECT eval_group, 1 FROM batch",
        "response_tokens": "SELECT task, num_response_tokens FROM batch",
        "verdicts": "SELECT quality.verdict, 1 FROM batch",
        "cuts": "SELECT cut, 1 FROM batch WHERE cut IS NOT NULL",
        "heard_ppm": "SELECT cut, round_even(1000000 * CAST(speech_share AS DOUBLE), 0) "
        "FROM batch WHERE cut IS NOT NULL",
    },
    "rejections": {"rejections": "SELECT reason, 1 FROM batch"},
}


class Recount:
    """Adds up the counts of one part, batch by batch."""

    def __init__(self, table: str) -> None:
        self._sums = _SUMS.get(table, {})
        self._totals: Counter[tuple[str, str]] = Counter()

    def add(self, database: duckdb.DuckDBPyConnection) -> None:
        """Counts the rows of the view `batch`."""
        if not self._sums:
            return
        every = " UNION ALL ".join(
            f"SELECT '{kind}', name, number FROM ({query}) AS t(name, number)"
            for kind, query in self._sums.items()
        )
        rows = database.execute(
            f"SELECT kind, name, CAST(sum(number) AS BIGINT) FROM ({every}) "
            "AS t(kind, name, number) WHERE name IS NOT NULL GROUP BY kind, name"
        ).fetchall()
        for kind, name, number in rows:
            self._totals[kind, name] += number

    @property
    def totals(self) -> dict[str, dict[str, int]]:
        """What was counted, by kind and name."""
        return {
            kind: {name: n for (of, name), n in self._totals.items() if of == kind}
            for kind in self._sums
        }

    def against_footer(self, path: Path, part: Part) -> Iterator[Finding]:
        """Yields where the footer says something else."""
        entries = pq.read_metadata(path).metadata or {}
        said = counts_in(entries.get(b"sllm_data.counts", b"").decode(errors="replace"))
        if said is None:
            return  # level 0 names it
        for kind, counted in self.totals.items():
            for name in sorted({*counted, *said.get(kind, {})}):
                expected = said.get(kind, {}).get(name, 0)
                if counted.get(name, 0) != expected:
                    yield Finding(
                        rule="row_counts",
                        part=part.file,
                        column=f"{kind}.{name}",
                        value=str(expected),
                        message=f"the footer says {expected}, its rows {counted.get(name, 0)}",
                    )
