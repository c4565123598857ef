"""How much there is: clips, hours, rows and tokens by corpus, language and task, and lengths."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sllm_data.reporting.report.distribution import Distribution
from sllm_data.reporting.report.tables import Tables

_DURATION_STEP_S = 0.1
_MILLISECONDS = "CAST(round(duration_s * 1000) AS BIGINT)"
_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusAmounts:
    """One language of one corpus."""

    corpus: str
    version: str
    language: str
    clips: int = 0
    hours: float = 0.0
    speakers: int = 0
    """Known ones."""
    rows: int = 0
    response_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskAmounts:
    """The rows of one task."""

    rows: int
    hours: float
    """That its rows have, a clip counted as often as it is used."""
    response_tokens: int
    lengths: Distribution = field(repr=False)
    """Of responses, in tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """What a dataset holds."""

    corpora: tuple[CorpusAmounts, ...]
    tasks: Mapping[str, TaskAmounts]
    durations: Distribution
    """Of clips, in seconds."""
    transcripts: Distribution
    """Of clips, in characters."""
    prompts: Distribution
    """Of what was asked, in tokens."""
    makers: tuple[str, ...]
    """Recipe, model, engine."""


def collect_amounts(tables: Tables) -> Amounts:
    """Adds up the tables.

    Raises:
        ShardError: A part is damaged.
    """
    return Amounts(
        corpora=_corpora(tables),
        tasks=_tasks(tables),
        durations=Distribution(
            counts=_counts(tables, f"{_MILLISECONDS} // 100", "audio"), step=_DURATION_STEP_S
        ),
        transcripts=Distribution(counts=_counts(tables, "length(transcript)", "audio")),
        prompts=Distribution(
            counts=_counts(tables, "num_prompt_tokens", "responses WHERE engine <> 'none'")
        ),
        makers=tuple(
            f"recipe {recipe}, backbone {model}, engine {engine} {version}"
            for recipe, model, engine, version in tables.rows(
                "SELECT DISTINCT recipe, generator.model, generator.engine, "
                "generator.engine_version FROM samples WHERE generator.engine <> 'none' "
                "ORDER BY ALL"
            )
        ),
    )


def _counts(tables: Tables, value: str, source: str) -> dict[int, int]:
    sql = f"SELECT CAST({value} AS BIGINT) AS value, count(*) FROM {source} GROUP BY 1 ORDER BY 1"
    return dict(tables.rows(sql))


def _corpora(tables: Tables) -> tuple[CorpusAmounts, ...]:
    rows = {
        tuple(key): (num, tokens)
        for *key, num, tokens in tables.rows(
            "SELECT source.corpus, source.version, language, count(*), "
            "CAST(sum(num_response_tokens) AS BIGINT) FROM samples GROUP BY ALL"
        )
    }
    clips = {
        tuple(key): found
        for *key, found in tables.rows(
            f"SELECT source.corpus, source.version, language, [count(*), sum({_MILLISECONDS}), "
            "count(DISTINCT speaker.id)]::BIGINT[] FROM audio GROUP BY ALL"
        )
    }
    return tuple(
        CorpusAmounts(
            corpus=key[0],
            version=key[1],
            language=key[2],
            clips=clips.get(key, (0, 0, 0))[0],
            hours=clips.get(key, (0, 0, 0))[1] / _MS_PER_HOUR,
            speakers=clips.get(key, (0, 0, 0))[2],
            rows=rows.get(key, (0, 0))[0],
            response_tokens=rows.get(key, (0, 0))[1],
        )
        for key in sorted(rows.keys() | clips.keys())
    )


def _tasks(tables: Tables) -> dict[str, TaskAmounts]:
    lengths: dict[str, dict[int, int]] = {}
    for task, length, num in tables.rows(
        "SELECT task, num_response_tokens, count(*) FROM samples GROUP BY ALL ORDER BY ALL"
    ):
        lengths.setdefault(task, {})[length] = num
    # ids as numbers: the join of a large dataset then fits in memory, or spills
    milliseconds = dict(
        tables.rows(
            f"""SELECT task, CAST(sum(ms) AS BIGINT) FROM
            (SELECT task, hash(unnest(audio_refs).audio_id) AS clip FROM samples)
            JOIN (SELECT hash(audio_id) AS clip, {_MILLISECONDS} AS ms FROM audio) USING (clip)
            GROUP BY task"""
        )
    )
    return {
        task: TaskAmounts(
            rows=sum(counts.values()),
            hours=milliseconds.get(task, 0) / _MS_PER_HOUR,
            response_tokens=sum(length * num for length, num in counts.items()),
            lengths=Distribution(counts=counts),
        )
        for task, counts in lengths.items()
    }
