"""All figures of a report as values: what the page shows, and what `--json` prints."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic

from sllm_data.errors import ShardError
from sllm_data.reporting.report.amounts import Amounts, collect_amounts
from sllm_data.reporting.report.anchors import Anchors, collect_anchors
from sllm_data.reporting.report.losses import (
    Duplicates,
    Rejected,
    TaskQuality,
    collect_duplicates,
    collect_quality,
    collect_rejections,
)
from sllm_data.reporting.report.tables import Tables
from sllm_data.reporting.stats import Stats, collect_stats

Runs = tuple[tuple[tuple[float, int], ...], ...]

_COURSE = pydantic.TypeAdapter(dict[str, Runs])
_SUFFIX = ".course.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """One dataset in figures."""

    name: str
    """Of its folder; with that of the folder above where two on a page have the same."""
    code_versions: tuple[str, ...]
    stats: Stats
    amounts: Amounts
    rejections: tuple[Rejected, ...]
    quality: Mapping[str, TaskQuality]
    duplicates: Duplicates
    anchors: Anchors
    courses: Mapping[str, Runs]
    """By pass: of each run that answered, seconds and answers until then."""

    def as_json(self) -> dict[str, Any]:  # Any: JSON document
        """The same as plain values."""
        return asdict(self)


def collect_figures(tables: Tables, *, name: str, advance: Callable[[], None]) -> Figures:
    """Collects everything.

    Args:
        tables: The dataset.
        name: What the page calls it.
        advance: Called NUM_STAGES times, after each stage of the work.

    Raises:
        ShardError: A part, a manifest or a file of reports/ is damaged.
    """

    def done(value: Any) -> Any:  # Any: handed through
        advance()
        return value

    return Figures(
        name=name,
        code_versions=tuple(sorted({each.code_version for each in tables.manifests.values()})),
        stats=collect_stats(tables.root),
        amounts=done(collect_amounts(tables)),
        rejections=done(collect_rejections(tables)),
        quality=done(collect_quality(tables)),
        duplicates=done(collect_duplicates(tables)),
        anchors=done(collect_anchors(tables)),
        courses=_courses(tables.root),
    )


NUM_STAGES = 5


def _courses(root: Path) -> dict[str, Runs]:
    found = {}
    for path in sorted((root / "reports").glob(f"generate.*{_SUFFIX}")):
        try:
            runs = _COURSE.validate_json(path.read_bytes())["runs"]
        except (OSError, KeyError, ValueError) as error:
            problem = next(iter(str(error).splitlines()), type(error).__name__)
            raise ShardError(
                f"{path}: must be JSON written by sllm-data, found {problem}; delete it"
            ) from error
        found[path.name.removeprefix("generate.").removesuffix(_SUFFIX)] = runs
    return found
