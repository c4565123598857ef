"""What a step wrote, part by part; it is written last, so its existence means done."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sllm_data.errors import ShardError
from sllm_data.files import sha256_of_text, write_text
from sllm_data.shards.schema import SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class PartRecord:
    """One Parquet file as it was committed."""

    file: str
    """Relative to the dataset, with forward slashes."""
    rows: int
    bytes: int
    sha256: str
    """Of the whole file."""
    footer_sha256: str
    """Of the Parquet footer alone: cheap to check, changes with any row group."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All parts of one step, and what the step depended on."""

    step: str
    identity: str
    """Hash of the configuration that the step's rows depend on, upstream included."""
    inputs: Mapping[str, str]
    """Digest of the manifest of each step that was read."""
    parts: tuple[PartRecord, ...]
    counts: Mapping[str, Mapping[str, int]]
    """Totals by kind of count: rows, tasks, reasons, tokens."""
    code_version: str
    extension: int = 0
    """Which extension of the dataset it was last written for; 0 is the first run."""
    schema_version: int = SCHEMA_VERSION
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
        fields = json.loads(text)
        fields["parts"] = tuple(PartRecord(**part) for part in fields["parts"])
        return Manifest(**fields)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ShardError(
            f"{path}: must be a manifest written by sllm-data, found {error}; "
            "delete it and run the same command again to make it anew"
        ) from error
