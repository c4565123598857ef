"""Which files belong to a dataset, in the order in which they are sent; and which do not.

    run.yaml      whose dataset it is: a publish that was killed is known by it
    parts         all rows, by the manifests
    the rest      schema.json, ATTRIBUTION, contract.yaml, croissant.json, README.md
    manifests     assemble.json, which says that a dataset is finished, as the very last

So a reader never finds a manifest or a card before what it speaks of.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sllm_data.errors import OutputError, ShardError
from sllm_data.files import sha256_of_file, writing
from sllm_data.shards import Manifest, read_manifest
from sllm_data.steps.dataset import read_run_document

FIRST = "run.yaml"
LAST = "manifest/assemble.json"
_CARDS = ("schema.json", "ATTRIBUTION", "contract.yaml", "croissant.json", "README.md")

OF_THE_MACHINE = "of runs on this machine"
REPORTS = "made from the dataset, and may name paths of this machine"
STRANGERS = "in no manifest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A file of a dataset."""

    name: str
    """Relative to it, with forward slashes."""
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """A dataset's files as they are sent."""

    identity: Mapping[str, object]
    """What its first extension was made with: a dataset that was extended is still that one."""
    num_extensions: int
    first: Item
    parts: tuple[Item, ...]
    closing: tuple[Item, ...]
    """Cards and manifests, in this order."""
    left_out: Mapping[str, tuple[str, ...]]
    """Files that are not sent, by reason."""

    @property
    def items(self) -> tuple[Item, ...]:
        """All of them, in the order of sending."""
        return (self.first, *self.parts, *self.closing)


def contents_of(root: Path) -> Contents:
    """Looks at a finished dataset; parts are taken by their manifests' word.

    Raises:
        OutputError: There is no dataset, or it is not finished.
        ShardError: A manifest can't be read.
    """
    document = read_run_document(root)
    if document is None:
        raise OutputError(f"{root}: must be a dataset, found no run.yaml; check the path")
    manifests = {path: _manifest(path) for path in sorted((root / "manifest").glob("*.json"))}
    last = manifests.get(root / LAST)
    if last is None or last.extension != len(document["extensions"]) - 1:
        raise OutputError(
            f"{root}: must be finished, found {_how_far(last)}; run `sllm-data run` with its "
            "configuration first"
        )
    parts = tuple(
        Item(name=part.file, path=root / part.file, size=part.bytes, sha256=part.sha256)
        for part in sorted(
            (part for manifest in manifests.values() for part in manifest.parts),
            key=lambda part: part.file,
        )
    )
    cards = [root / name for name in _CARDS if (root / name).exists()]
    closing = [*cards, *(path for path in manifests if path != root / LAST), root / LAST]
    known = {FIRST, *(part.name for part in parts), *(_name(root, path) for path in closing)}
    return Contents(
        identity=document["extensions"][0],
        num_extensions=len(document["extensions"]),
        first=_item(root, root / FIRST),
        parts=parts,
        closing=tuple(_item(root, path) for path in closing),
        left_out=_left_out(root, known),
    )


def _manifest(path: Path) -> Manifest:
    found = read_manifest(path)
    if found is None:
        raise ShardError(f"{path}: must stay where it is while the dataset is published, it went")
    return found


def _how_far(last: Manifest | None) -> str:
    return f"no {LAST}" if last is None else "an extension that is not"


def _item(root: Path, path: Path) -> Item:
    with writing(path):
        size = path.stat().st_size
        return Item(name=_name(root, path), path=path, size=size, sha256=sha256_of_file(path))


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _left_out(root: Path, known: set[str]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name in _names(root):
        if name in known:
            continue
        if any(part.startswith(".") for part in name.split("/")):
            reason = OF_THE_MACHINE
        else:
            reason = REPORTS if name.startswith("reports/") else STRANGERS
        found.setdefault(reason, []).append(name)
    return {reason: tuple(sorted(names)) for reason, names in sorted(found.items())}


def _names(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root):
        yield from (_name(root, Path(folder, name)) for name in names)
