"""The figures a researcher wants first: hours, rows, tokens, quotas, rejections.

Everything comes from manifests and footers, so a dataset of any size is described at once.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sllm_data.errors import ShardError
from sllm_data.shards import Manifest, read_manifest

Share = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskStats:
    """One task: what was asked for, and what came out."""

    asked_share: float
    """Its weight over all weights."""
    requests: int
    request_share: float
    samples: int
    sample_share: float
    response_tokens: int
    token_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageStats:
    """One language of speech."""

    clips: int
    hours: float
    samples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """A dataset in figures; steps that are not finished are missing."""

    steps: tuple[str, ...]
    """Finished steps."""
    rows: Mapping[str, int]
    """Rows of each table."""
    languages: Mapping[str, LanguageStats] = field(default_factory=dict)
    tasks: Mapping[str, TaskStats] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    eval_groups: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    rejections: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By step and reason."""
    flags: Mapping[str, int] = field(default_factory=dict)
    """Requests of the main pass that are kept and marked, by what was found."""
    selection: Mapping[str, int] = field(default_factory=dict)
    """How many candidates were listed, and how many chosen by sample, limit and weight."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Prompt, response and cached tokens of the main pass."""
    throughput: Mapping[str, float] = field(default_factory=dict)
    """Of the last generating run."""

    def as_json(self) -> dict[str, Any]:  # Any: JSON document
        """The same as plain values."""
        return asdict(self)


def collect_stats(root: Path) -> Stats:
    """Collects the figures of a dataset.

    Raises:
        ShardError: The folder is no dataset, or a manifest is damaged.
    """
    manifests = {
        path.stem: manifest
        for path in sorted((root / "manifest").glob("*.json"))
        if (manifest := read_manifest(path)) is not None
    }
    if not manifests:
        raise ShardError(f"{root}: must be a dataset, found no manifest/*.json; run it first")
    counts = {name: manifest.counts for name, manifest in manifests.items()}
    rows: Counter[str] = Counter()
    for manifest in manifests.values():
        for part in manifest.parts:
            rows[part.file.rpartition("/")[0].partition("/")[0]] += part.rows
    assembled = counts.get("assemble", {})
    return Stats(
        steps=tuple(manifests),
        rows=dict(rows),
        languages=_languages(counts.get("ingest", {}), assembled),
        tasks=_tasks(manifests),
        splits=assembled.get("splits", {}),
        eval_groups=assembled.get("eval_groups", {}),
        verdicts=assembled.get("verdicts", {}),
        rejections={
            name: reasons for name, kinds in counts.items() if (reasons := kinds.get("rejections"))
        },
        flags=counts.get("plan.main", {}).get("flags", {}),
        selection={
            name: int(value)
            for name, value in (
                manifests["candidates"].extra.items() if "candidates" in manifests else ()
            )
        },
        tokens=counts.get("generate.main", {}).get("tokens", {}),
        throughput=_throughput(root),
    )


def _languages(
    ingested: Mapping[str, Mapping[str, int]], assembled: Mapping[str, Mapping[str, int]]
) -> dict[str, LanguageStats]:
    milliseconds = ingested.get("milliseconds", {})
    samples = assembled.get("languages", {})
    return {
        language: LanguageStats(
            clips=clips,
            hours=milliseconds.get(language, 0) / 3_600_000,
            samples=samples.get(language, 0),
        )
        for language, clips in ingested.get("rows", {}).items()
    }


def _tasks(manifests: Mapping[str, Manifest]) -> dict[str, TaskStats]:
    planned, assembled = manifests.get("plan.main"), manifests.get("assemble")
    if planned is None:
        return {}
    requests = planned.counts.get("tasks", {})
    samples = assembled.counts.get("tasks", {}) if assembled else {}
    tokens = assembled.counts.get("response_tokens", {}) if assembled else {}
    asked: dict[str, Share] = json.loads(planned.extra.get("balance", "{}"))
    return {
        task: TaskStats(
            asked_share=shares["asked"],
            requests=requests.get(task, 0),
            request_share=_share(requests, task),
            samples=samples.get(task, 0),
            sample_share=_share(samples, task),
            response_tokens=tokens.get(task, 0),
            token_share=_share(tokens, task),
        )
        for task, shares in asked.items()
    }


def _share(counts: Mapping[str, int], name: str) -> float:
    return counts.get(name, 0) / max(1, sum(counts.values()))


def _throughput(root: Path) -> dict[str, float]:
    path = root / "reports" / "generate.main.json"
    if not path.exists():
        return {}
    try:
        figures: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ShardError(
            f"{path}: must be JSON written by sllm-data, found {error}; delete it"
        ) from error
    return figures
