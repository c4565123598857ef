"""Rows of `samples/` and what the parts of `audio/` say of their clips; no audio is opened.

A dataset is its two folders. Where its manifests are there too, all parts that they list must
be; where they were left behind, every part of `audio/` must have its part of `samples/`. What
is wrong with a whole dataset is an error when it is opened. What is wrong with a row is counted
under its name while it is read: one clip that was lost must not stop a training.
"""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sllm_data.errors import ConfigError, ShardError
from sllm_data.files import sha256_of_bytes, sha256_of_text
from sllm_data.records import Message, Span, Turn
from sllm_data.shards import Manifest, part_name, read_footer, read_manifest, read_part
from sllm_data.trainer.data.config import DatasetEntry
from sllm_data.units import Hertz

_COLUMNS = (
    *("sample_id", "kind", "task", "split", "eval_group", "source"),
    *("audio_refs", "messages", "text_messages", "finish_reason", "generator"),
)
_STEPS = {"samples": "assemble", "audio": "ingest"}
_OPEN_PARTS = 64
_FOOTER = 2**16  # bytes
_NAMED = {"tasks": "task", "kinds": "kind", "corpora": "corpus"}


class Address(NamedTuple):
    """Where a row stands: the dataset in the configuration, its part, the row in the part."""

    dataset: int
    part: int
    row: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What a row of `samples/` trains."""

    address: Address
    sample_id: str
    kind: str
    task: str
    corpus: str
    turns: tuple[Turn, ...]
    """The side that hears."""
    gains_db: tuple[float, ...]
    """Of each audio span, in their order."""
    text_messages: tuple[Message, ...]
    """The side that reads."""
    audio_refs: tuple[tuple[int, str], ...]
    """(audio_part, audio_id) of each clip."""
    is_complete: bool
    """Whether the last answer came to its end."""
    chat_template_sha256: str
    """Of the template by which the answer was asked for; empty where there was none."""
    extra: Mapping[str, Any] = field(default_factory=dict)  # Any: values of further columns
    """Further columns that were asked for."""


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A row that does not say what it should."""

    address: Address
    sample_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What a part of `audio/` says of a clip."""

    rate_hz: Hertz
    num_samples: int


class Dataset:
    """An open dataset: the rows that its entry in the configuration takes.

    Attributes:
        parts: Numbers of the parts of `samples/`.
        digest: Of what the rows depend on: another one where any part is another.
    """

    def __init__(self, entry: DatasetEntry, *, number: int = 0) -> None:
        """Opens a dataset and checks that it is whole.

        Args:
            entry: Its folder and which rows are taken.
            number: Its place in the configuration.

        Raises:
            ShardError: There is no dataset, a part is missing, or it has another schema version.
            ConfigError: A task, kind or corpus is named that the dataset doesn't have.
        """
        self.entry = entry
        self.root = entry.path
        self._number = number
        self.parts = _numbers(self.root, "samples")
        if not self.parts:
            raise ShardError(
                f"{self.root}: must be a dataset with samples/part-*.parquet, there is none; "
                "check the path, or make it with `sllm-data run`"
            )
        read_footer(self.root / "samples" / part_name(self.parts[0]))
        manifests = {table: _manifest(self.root, table) for table in _STEPS}
        for table, manifest in manifests.items():
            if manifest is not None:
                _check_parts(self.root, table, manifest)
        if manifests["audio"] is None or manifests["samples"] is None:
            _check_pairs(self.root, self.parts)
        _check_names(entry, self.root, self.parts)
        self.digest = digest_of(self.root)
        self._facts = lru_cache(maxsize=_OPEN_PARTS)(self._read_facts)

    def rows(self, part: int, *, extra: Sequence[str] = ()) -> Iterator[Row | MalformedRow]:
        """Yields the rows of a part that the entry takes, in their order.

        Args:
            part: Its number.
            extra: Further columns to read into `Row.extra`.

        Raises:
            ShardError: The part is missing, damaged, or of another schema version.
        """
        path = self.root / "samples" / part_name(part)
        read_footer(path)
        table = read_part(path, [*_COLUMNS, *extra])
        table = table.append_column("row", pa.array(range(len(table)), pa.int64()))
        table = table.filter(_selection(table, self.entry))
        for row in table.to_pylist():
            address = Address(self._number, part, row["row"])
            try:
                yield _row(row, address, extra)
            except ValueError as error:
                yield MalformedRow(address, row["sample_id"], str(error))

    def facts(self, audio_part: int, audio_id: str) -> ClipFacts | None:
        """Returns what is known of a clip; None where the dataset does not hold it.

        Raises:
            ShardError: The part is damaged, or of another schema version.
        """
        return self._facts(audio_part).get(audio_id)

    def _read_facts(self, part: int) -> dict[str, ClipFacts]:
        path = self.root / "audio" / part_name(part)
        if not path.exists():
            return {}
        read_footer(path)
        table = read_part(path, ["audio_id", "sampling_rate", "num_samples"])
        columns = (table[name].to_pylist() for name in table.column_names)
        return {
            name: ClipFacts(Hertz(rate), num_samples)
            for name, rate, num_samples in zip(*columns, strict=True)
        }


def read_rows(entry: DatasetEntry, *, extra: Sequence[str] = ()) -> Iterator[Row]:
    """Yields all rows that an entry takes, part after part, for evaluation.

    Raises:
        ShardError: The dataset can't be used, or a row does not say what it should.
        ConfigError: A task, kind or corpus is named that the dataset doesn't have.
    """
    dataset = Dataset(entry)
    for part in dataset.parts:
        for row in dataset.rows(part, extra=extra):
            if isinstance(row, MalformedRow):
                raise ShardError(f"{row.sample_id}: {row.reason}")
            yield row


def _row(row: Mapping[str, Any], address: Address, extra: Sequence[str]) -> Row:
    turns, gains = [], []
    for turn in row["messages"]:
        spans = []
        for span in turn["content"]:
            if span["type"] == "audio":
                gains.append(span.get("gain_db") or 0.0)
            spans.append(
                Span(
                    type=span["type"],
                    text=span["text"],
                    audio_index=span["audio_index"],
                    start_sample=span["start_sample"],
                    num_samples=span["num_samples"],
                    supervised=bool(span["supervised"]),
                )
            )
        turns.append(Turn(role=turn["role"], content=tuple(spans)))
    return Row(
        address=address,
        sample_id=row["sample_id"],
        kind=row["kind"],
        task=row["task"],
        corpus=row["source"]["corpus"],
        turns=tuple(turns),
        gains_db=tuple(gains),
        text_messages=tuple(Message(**message) for message in row["text_messages"]),
        audio_refs=tuple((ref["audio_part"], ref["audio_id"]) for ref in row["audio_refs"]),
        is_complete=row["finish_reason"] == "stop",
        chat_template_sha256=row["generator"]["chat_template_sha256"],
        extra={name: row[name] for name in extra},
    )


def _selection(table: pa.Table, entry: DatasetEntry) -> pa.Array:
    chosen = pc.and_(
        pc.equal(table["split"], entry.split), pc.equal(table["eval_group"], entry.eval_group)
    )
    for name, column in _named(table).items():
        if wanted := getattr(entry, name):
            chosen = pc.and_(chosen, pc.is_in(column, value_set=pa.array(wanted)))
    return chosen


def _named(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Returns the columns that an entry of a configuration takes rows by."""
    return {
        "tasks": table["task"],
        "kinds": table["kind"],
        "corpora": pc.struct_field(table["source"], "corpus"),
    }


def _numbers(root: Path, table: str) -> tuple[int, ...]:
    found = (path.stem.removeprefix("part-") for path in (root / table).glob("part-*.parquet"))
    return tuple(sorted(int(number) for number in found if number.isdecimal()))


def _manifest(root: Path, table: str) -> Manifest | None:
    return read_manifest(root / "manifest" / f"{_STEPS[table]}.json")


def _check_parts(root: Path, table: str, manifest: Manifest) -> None:
    for record in manifest.parts:
        if not record.file.startswith(f"{table}/"):
            continue
        path = root / record.file
        size = path.stat().st_size if path.exists() else None
        if size != record.bytes:
            found = "nothing" if size is None else f"{size:,} bytes"
            raise ShardError(
                f"{path}: must be the part of {record.bytes:,} bytes that {manifest.step} wrote, "
                f"found {found}; copy the dataset again, with all parts"
            )


def _check_pairs(root: Path, parts: Sequence[int]) -> None:
    alone = sorted(set(_numbers(root, "audio")) - set(parts))
    if alone:
        raise ShardError(
            f"{root}: audio/{part_name(alone[0])} must have its samples/{part_name(alone[0])}, "
            "which is missing; copy the dataset again, with all parts and its manifest/"
        )


def _check_names(entry: DatasetEntry, root: Path, parts: Sequence[int]) -> None:
    """Looks for each name of the entry until it is found: most stand in the first part."""
    missing = {
        name: dict.fromkeys((*getattr(entry, name), *getattr(entry.weights, name)))
        for name in _NAMED
    }
    found: dict[str, set[str]] = {name: set() for name in _NAMED}
    for part in parts:
        if not any(missing.values()):
            return
        path = root / "samples" / part_name(part)
        read_footer(path)
        table = read_part(path, ["task", "kind", "source"])
        for name, column in _named(table).items():
            found[name].update(pc.unique(column).to_pylist())
            missing[name] = {each: None for each in missing[name] if each not in found[name]}
    for name, left in missing.items():
        for each in left:
            near = difflib.get_close_matches(each, found[name], n=1)
            known = ", ".join(sorted(found[name]))
            hint = f"did you mean {near[0]!r}?" if near else f"it has {known}"
            raise ConfigError(f"{root}: must have the {_NAMED[name]} {each!r}, has none; {hint}")


def digest_of(root: Path) -> str:
    """Returns the digest of what a dataset holds: another one where any part is another.

    Parts are known by what their manifest says; without one, by their sizes and footers.
    """
    lines = []
    for table in _STEPS:
        manifest = _manifest(root, table)
        if manifest is not None:
            lines += [f"{part.file} {part.sha256}" for part in manifest.parts]
        else:
            paths = (root / table / part_name(number) for number in _numbers(root, table))
            lines += [f"{table}/{path.name} {path.stat().st_size} {_end(path)}" for path in paths]
    return sha256_of_text("\n".join(lines))


def _end(path: Path) -> str:
    """Returns the digest of a part's end: its footer, with sizes and bounds of each column."""
    with path.open("rb") as file:
        file.seek(-min(_FOOTER, path.stat().st_size), os.SEEK_END)
        return sha256_of_bytes(file.read())
