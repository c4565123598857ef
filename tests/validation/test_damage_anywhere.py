"""Whatever byte of a dataset is damaged, the validator ends with a report or one sentence."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from planting import judged

from sllm_data.errors import SllmDataError
from sllm_data.seeding import rng_for


@pytest.fixture(scope="module")
def files(plain, tmp_path_factory) -> list[tuple[Path, bytes]]:
    root = tmp_path_factory.mktemp("damage") / "dataset"
    shutil.copytree(plain, root)
    paths = [p for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".lock"]
    return [(path, path.read_bytes()) for path in paths if path.stat().st_size]


def damaged(content: bytes, how: str, place: float, bits: int) -> bytes:
    at = int(place * len(content))
    match how:
        case "flip":
            return content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :]
        case "cut":
            return content[:at]
        case "zero":
            return content[:at] + bytes(min(bits, len(content) - at)) + content[at + bits :]
        case _:
            return content[:at] + content[max(0, at - bits) :]


def _root(path: Path) -> Path:
    return next(parent for parent in path.parents if (parent / "run.yaml").exists())


def _spoilt(files, seed):
    """One file with one damage; rng_for, so that a failing seed fails again."""
    rng = rng_for(seed, "damage")
    path, content = rng.choice(files)
    how = rng.choice(["flip", "cut", "zero", "double"])
    return path, content, damaged(content, how, rng.random(), rng.randint(1, 255))


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_document_never_crashes_it(files, seed):
    path, content, changed = _spoilt([f for f in files if f[0].suffix != ".parquet"], seed)
    path.write_bytes(changed)
    try:
        with suppress(SllmDataError):
            judged(_root(path), 0)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_part_is_found(files, seed):
    path, content, changed = _spoilt([f for f in files if f[0].suffix == ".parquet"], seed)
    path.write_bytes(changed)
    try:
        report = judged(_root(path), 2)
    finally:
        path.write_bytes(content)
    named = {f.part for o in report.outcomes if o.is_failure for f in o.findings}
    assert (str(path.relative_to(_root(path))) in named) == (changed != content)
