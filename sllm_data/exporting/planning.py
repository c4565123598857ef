"""What an export will be, before anything is written: rows, sources, and what can't be held."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sllm_data.errors import ConfigError
from sllm_data.exporting.conversation import UnheldError
from sllm_data.exporting.formats import FORMATS
from sllm_data.exporting.layout import Layout
from sllm_data.exporting.rows import Row, Rows, Selection
from sllm_data.files import sha256_of_file, sha256_of_text
from sllm_data.seeding import hash128
from sllm_data.shards import read_manifest

Source = tuple[str, str, str, str]
"""Corpus, version, licence, attribution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """Rows of one reason that are left out."""

    rows: int
    first: str
    """The sample_id of the first of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """An export that can be written."""

    dataset: Path
    format: str
    selection: Selection
    rows: int
    """That will be written."""
    stretches: int
    """Places where they hear something."""
    left_out: dict[str, Left]
    """By what the layout has no room for."""
    several_clips: bool
    """Whether any row has more than one clip."""
    sources: dict[Source, int]
    """Where the rows come from, and how many from each."""
    recipes: tuple[str, ...]
    digest: str
    """Of the manifest of the dataset's rows, or of their files where that was left behind."""

    @property
    def layout(self) -> Layout:
        """The layout it will have."""
        return FORMATS[self.format]

    @property
    def mark(self) -> str:
        """Eight hexadecimal digits that differ where other rows are exported."""
        chosen = asdict(self.selection)
        return hash128(self.digest, self.format, json.dumps(chosen, sort_keys=True))[:8]

    def held(self) -> Iterator[Row]:
        """Yields the rows that will be written.

        Raises:
            ShardError: The dataset is damaged.
        """
        for row in Rows(self.dataset, self.selection):
            try:
                self.layout.holds(row)
            except UnheldError:
                continue
            yield row


def plan_export(dataset: Path, name: str, selection: Selection, *, skip: bool = False) -> Plan:
    """Looks at every row once, without its sound.

    Args:
        dataset: Its folder.
        name: Of the layout.
        selection: Which rows.
        skip: Whether rows that the layout can't hold are left out; else they are an error.

    Raises:
        ConfigError: There is no such layout, it can't hold a row, or no row is left; or none is
            of a task or kind that is named.
        ShardError: The dataset is damaged.
    """
    if name not in FORMATS:
        raise ConfigError(f"--format must be one of {', '.join(FORMATS)}, got {name!r}")
    layout = FORMATS[name]
    left_out: dict[str, Left] = {}
    sources: Counter[Source] = Counter()
    recipes: set[str] = set()
    seen: set[str] = set()
    num_rows = num_stretches = max_clips = 0
    for row in Rows(dataset, selection):
        seen |= {row.task, row.kind}
        try:
            layout.holds(row)
        except UnheldError as error:
            before = left_out.get(str(error), Left(rows=0, first=row.sample_id))
            left_out[str(error)] = Left(rows=before.rows + 1, first=before.first)
            continue
        num_rows += 1
        num_stretches += len(row.heard)
        max_clips = max(max_clips, len(row.clips))
        source = row.columns["source"]
        names = ("corpus", "version", "licence", "attribution")
        corpus, version, licence, attribution = (source[key] or "" for key in names)
        sources[corpus, version, licence, attribution] += 1
        recipes.add(row.columns["recipe"])
    _check_named(dataset, selection, seen)
    if left_out and not skip:
        raise ConfigError(_refusal(name, num_rows, left_out))
    if not num_rows:
        raise ConfigError(_nothing(dataset, name, selection, left_out))
    return Plan(
        dataset=dataset,
        format=name,
        selection=selection,
        rows=num_rows,
        stretches=num_stretches,
        left_out=left_out,
        several_clips=max_clips > 1,
        sources=dict(sorted(sources.items())),
        recipes=tuple(sorted(recipes)),
        digest=_digest(dataset),
    )


def _check_named(dataset: Path, selection: Selection, seen: set[str]) -> None:
    """Refuses a task or kind that no row has beside others that rows have: a slip of the pen."""
    if not seen or selection.limit is not None:  # none at all has a sentence of its own
        return
    for what, named in (("task", selection.tasks), ("kind", selection.kinds)):
        for name in named:
            if name not in seen:
                raise ConfigError(
                    f"{dataset}: must have rows of the {what} {name!r} among those that are "
                    "exported, has none; `sllm-data stats` lists them"
                )


def _refusal(name: str, num_held: int, left_out: dict[str, Left]) -> str:
    total = num_held + sum(left.rows for left in left_out.values())
    reason, left = max(left_out.items(), key=lambda item: item[1].rows)
    others = len(left_out) - 1
    more = f", and {others} more kinds of rows" if others else ""
    return (
        f"{name} can't hold {reason}: {left.rows:,} of {total:,} rows, the first is {left.first}"
        f"{more}; choose another --format, choose rows with --kind or --task, or leave such rows "
        "out with --on-unsupported skip"
    )


def _nothing(dataset: Path, name: str, selection: Selection, left_out: dict[str, Left]) -> str:
    if left_out:
        return f"{name} can't hold any row of {dataset}: {', '.join(left_out)}"
    wanted = [f"split {selection.split}", f"eval group {selection.eval_group}"]
    wanted += [f"task {task}" for task in selection.tasks]
    wanted += [f"kind {kind}" for kind in selection.kinds]
    return (
        f"{dataset}: must have rows of {', '.join(wanted)}, has none; `sllm-data stats` lists them"
    )


def _digest(dataset: Path) -> str:
    manifest = read_manifest(dataset / "manifest/assemble.json")
    if manifest is not None:
        return manifest.digest()
    paths = sorted((dataset / "samples").glob("part-*.parquet"))
    return sha256_of_text("\n".join(f"{path.name} {sha256_of_file(path)}" for path in paths))
