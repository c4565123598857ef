"""What a step wrote, part by part; it is written last, so its existence means done.

A manifest is read with its types checked: later steps, and other runs that reuse a dataset,
add up its counts and open its files.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated

import pydantic

from sllm_data.errors import ShardError
from sllm_data.files import sha256_of_text, write_text
from sllm_data.shards.schema import SCHEMA_VERSION

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True)


def _below(file: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\x00" in file:
        raise ValueError("must be a file of the dataset")
    return file


_Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
_File = Annotated[str, pydantic.AfterValidator(_below)]


@dataclass(frozen=True, kw_only=True, slots=True)
class PartRecord:
    """One Parquet file as it was committed."""

    __pydantic_config__ = _STRICT

    file: _File
    """Relative to the dataset, with forward slashes."""
    rows: _Count
    bytes: _Count
    sha256: str
    """Of the whole file."""
    footer_sha256: str
    """Of the Parquet footer alone: cheap to check, changes with any row group."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All parts of one step, and what the step depended on."""

    __pydantic_config__ = _STRICT

    step: str
    identity: str
    """Hash of the configuration that the step's rows depend on, upstream included."""
    inputs: Mapping[str, str]
    """Digest of the manifest of each step that was read."""
    parts: tuple[PartRecord, ...]
    counts: Mapping[str, Mapping[str, _Count]]
    """Totals by kind of count: rows, tasks, reasons, tokens."""
    code_version: str
    extension: _Count = 0
    """Which extension of the dataset it was last written for; 0 is the first run."""
    schema_version: Annotated[int, pydantic.Field(ge=1, lt=2**31)] = SCHEMA_VERSION
    extra: Mapping[str, str] = field(default_factory=dict)
    """Facts that the step learnt and later steps need, such as digests of files it used."""

    def digest(self) -> str:
        """Hash of the manifest's content; later steps name it as their input."""
        return sha256_of_text(_to_json(self))


def _to_json(manifest: Manifest) -> str:
    return json.dumps(asdict(manifest), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes `manifest/<step>.json` atomically."""
    write_text(path, _to_json(manifest))


def read_manifest(path: Path) -> Manifest | None:
    """Reads a manifest; None where there is none.

    Raises:
        ShardError: The file is not a manifest.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"{path}: the manifest can't be read: {error}") from error
    try:
        return _manifests().validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        raise ShardError(
            f"{path}: must be a manifest written by sllm-data, found {at}: {first['msg']}; "
            "delete it and run the same command again to make it anew"
        ) from error


@cache
def _manifests() -> pydantic.TypeAdapter[Manifest]:
    return pydantic.TypeAdapter(Manifest)
