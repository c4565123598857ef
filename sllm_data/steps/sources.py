"""Where the rows of a dataset come from, under which licences, and how much of each there is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sllm_data.errors import one_line
from sllm_data.shards.database import interruptible, opened, parquet

_RANKS = (
    ("cc0-1.0", "pddl", "unlicense"),
    ("mit", "apache-2.0", "bsd-3-clause", "bsd-2-clause"),
    ("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "odc-by"),
    ("cc-by-sa-3.0", "cc-by-sa-4.0", "odbl", "gpl-3.0"),
    ("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"),
    ("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    ("cc-by-nd-4.0",),
    ("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
)
"""Names of the hub, each row forbidding more than the one above."""

HUB_NAMES = tuple(name for names in _RANKS for name in names)
"""All licences whose order is known here."""

_MOST_CHARACTERS = 10_000
"""Of what one source says of itself, in ATTRIBUTION."""

OTHER = "other"
"""A licence that the hub has no name for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFacts:
    """One source of rows."""

    corpus: str
    version: str
    licence: str
    """As the corpus entry has it; empty where nothing is said."""
    attribution: str
    rows: int
    clips: int
    hours: float
    """Of the clips that rows hear, each once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Languages:
    """What is spoken, and what is answered in."""

    spoken: tuple[str, ...]
    answered: tuple[str, ...]


def sources_in(root: Path, scratch: Path) -> list[SourceFacts]:
    """Counts rows, clips and hours by source, the largest first.

    Args:
        root: A dataset with `samples/` and `audio/`.
        scratch: A folder for what does not fit into memory.
    """
    samples, audio = (
        parquet(sorted((root / table).glob("part-*.parquet"))) for table in ("samples", "audio")
    )
    query = f"""
        WITH heard AS (
            SELECT DISTINCT source, unnest(audio_refs).audio_id AS audio_id FROM {samples}
        ), lengths AS (
            SELECT source, count(*) AS clips,
                sum(num_samples / sampling_rate) / 3600 AS hours
            FROM heard JOIN (SELECT audio_id, num_samples, sampling_rate FROM {audio})
            USING (audio_id) GROUP BY source
        )
        SELECT source.corpus, source.version, coalesce(source.licence, ''),
            coalesce(source.attribution, ''), count(*), any_value(coalesce(clips, 0)),
            any_value(coalesce(hours, 0))
        FROM {samples} LEFT JOIN lengths USING (source)
        GROUP BY ALL ORDER BY count(*) DESC, 1, 2, 3, 4"""
    with opened(scratch) as database, interruptible():
        rows = database.execute(query).fetchall()
    return [
        SourceFacts(
            corpus=corpus,
            version=version,
            licence=licence,
            attribution=attribution,
            rows=num_rows,
            clips=clips,
            hours=hours,
        )
        for corpus, version, licence, attribution, num_rows, clips, hours in rows
    ]


def languages_in(root: Path, scratch: Path) -> Languages:
    """Returns the languages of speech and of answers, sorted."""
    samples = parquet(sorted((root / "samples").glob("part-*.parquet")))
    with opened(scratch) as database, interruptible():
        spoken, answered = (
            tuple(
                str(value)
                for (value,) in database.execute(
                    f"SELECT DISTINCT {column} FROM {samples} ORDER BY 1"
                ).fetchall()
            )
            for column in ("language", "response_language")
        )
    return Languages(spoken=spoken, answered=answered)


def hub_name(licence: str) -> str:
    """Returns what the hub calls a licence; `other` where it has no name that is known here.

    >>> hub_name("CC-BY-4.0"), hub_name("CC0"), hub_name("ask me")
    ('cc-by-4.0', 'cc0-1.0', 'other')
    """
    name = licence.strip().lower().replace(" ", "-")
    name = {"cc0": "cc0-1.0", "public-domain": "cc0-1.0"}.get(name, name)
    return name if name in HUB_NAMES else OTHER


def most_restrictive(licences: Iterable[str]) -> str:
    """Returns the licence that forbids most, by its name on the hub; one that is not known wins.

    >>> most_restrictive(["CC0-1.0", "CC-BY-SA-4.0", "CC-BY-4.0"])
    'cc-by-sa-4.0'
    """
    names = [hub_name(licence) for licence in licences]
    return max(names, key=_rank, default=OTHER)


def _rank(name: str) -> int:
    ranks = [rank for rank, names in enumerate(_RANKS) if name in names]
    return ranks[0] if ranks else len(_RANKS)


def attribution_text(name: str, sources: Sequence[SourceFacts]) -> str:
    """Returns the text of ATTRIBUTION: who is to be named, and for how much."""
    lines = [f"{name} holds speech and transcripts of:", ""]
    for each in sources:
        lines += [
            f"{_line(each.corpus)}, version {_line(each.version) or 'unknown'}",
            f"  licence: {_line(each.licence) or 'not stated'}",
            f"  attribution: {_line(each.attribution) or 'not stated'}",
            f"  {each.rows:,} rows, {each.clips:,} clips, {each.hours:.2f} hours",
            "",
        ]
    lines.append("Every row names its source in the column `source`.")
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    """What a corpus says as one line, which adds none of its own and moves no terminal."""
    return one_line(" ".join(text.split()), at_most=_MOST_CHARACTERS)
