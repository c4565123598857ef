"""The trained models of the small spoken world that ship with the package.

`assets/backbone` and `assets/encoder` are model folders like any other. `assets/testbed.json`
says how each was trained, what it can do, and what its files must be.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sllm_data.errors import ModelError, OutputError
from sllm_data.files import sha256_of_file, write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = Literal["backbone", "encoder"]
KINDS: tuple[Kind, ...] = ("backbone", "encoder")
FILE_NAME = "testbed.json"
SHIPPED = Path(__file__).parent / "assets"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """A trained model."""

    folder: Path
    training: Mapping[str, Any]  # Any: JSON
    """How it was trained: `sllm-data testbed build` makes it again."""
    figures: Mapping[str, Any]  # Any: JSON
    """What it can do, on sentences and voices that it never met."""
    made_with: Mapping[str, str]
    """Versions and processor: with others the files may differ in the last bits."""


@cache
def shipped(kind: Kind) -> Path:
    """Returns the folder of a shipped model.

    Raises:
        ModelError: A file is missing or is not what it was.
    """
    return read_asset(SHIPPED, kind).folder


def read_asset(root: Path, kind: Kind) -> Asset:
    """Returns a model that `record` wrote down, after a look at every file.

    Raises:
        ModelError: There is none, or a file is missing or is not what it was.
    """
    page = root / FILE_NAME
    try:
        entries = json.loads(page.read_text(encoding="utf-8"))
        if kind not in entries:
            raise ModelError(f"{page}: there is no {kind} here; run `sllm-data testbed build`")
        entry = entries[kind]
        asset = Asset(
            folder=root / kind,
            training=entry["training"],
            figures=entry["figures"],
            made_with=entry["made_with"],
        )
        digests: dict[str, str] = entry["files"]
    except FileNotFoundError as error:
        raise ModelError(
            f"{page}: there is no such file; run `sllm-data testbed build`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{page}: must describe the {kind}, found: {error!r}; install the package again, or "
            "run `sllm-data testbed build`"
        ) from error
    for name, digest in digests.items():
        path = asset.folder / name
        found = sha256_of_file(path) if path.is_file() else "no file"
        if found != digest:
            raise ModelError(
                f"{path}: must have the SHA-256 {digest}, found {found}; install the package "
                "again, or run `sllm-data testbed build`"
            )
    return asset


def as_json(training: "DataclassInstance") -> dict[str, Any]:  # Any: JSON
    """Returns a training as its page gives it back: tuples are lists there."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(training)))
    return found


def recorded(root: Path) -> dict[str, Any]:  # Any: JSON
    """Returns the descriptions that a folder holds, by kind; none where nothing was built.

    Raises:
        OutputError: They can't be read, or are something else.
    """
    page = root / FILE_NAME
    try:
        entries = json.loads(page.read_text(encoding="utf-8")) if page.exists() else {}
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{page}: must be a description of models, found: {error}; choose another folder"
        ) from error
    if not isinstance(entries, dict):
        raise OutputError(
            f"{page}: must be a description of models, found no JSON object; choose another folder"
        )
    return entries


def record(root: Path, asset: Asset) -> None:
    """Writes down what a model is, beside others of the same folder.

    Raises:
        OutputError: The folder can't be written, or its description is none.
    """
    entries = recorded(root) | {
        asset.folder.name: {
            "training": dict(asset.training),
            "figures": dict(asset.figures),
            "made_with": dict(asset.made_with),
            "files": {
                str(path.relative_to(asset.folder)): sha256_of_file(path)
                for path in sorted(asset.folder.rglob("*"))
                if path.is_file()
            },
        }
    }
    page = root / FILE_NAME
    write_text(page, json.dumps(entries, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
