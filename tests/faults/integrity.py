"""What must be true of a dataset: whole files at any time, and all rows once in the end."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from steps_datasets import digests, rows

from sllm_data.files import sha256_of_file
from sllm_data.shards import TABLES, read_footer, read_manifest, read_part

Row = dict[str, Any]


def assert_whole(root: Path) -> None:
    """Every file under a final name is whole: each page's checksum, each manifest's digests."""
    for path in _final(root):
        match path.suffix:
            case ".parquet":
                assert read_part(path).num_rows == read_footer(path).rows
            case ".json":
                assert json.loads(path.read_text())
            case ".yaml":
                assert yaml.safe_load(path.read_text())
            case _:
                assert path.read_text().endswith("\n"), path
    for path in root.glob("manifest/*.json"):
        for part in read_manifest(path).parts:
            assert sha256_of_file(root / part.file) == part.sha256, part.file


def assert_part_of(root: Path, *undisturbed: Path) -> None:
    """What stands so far has the bytes that it has in one of the undisturbed datasets."""
    wholes = [digests(whole) for whole in undisturbed]
    for name, digest in digests(root).items():
        assert digest in [whole.get(name) for whole in wholes], name


def assert_finished(root: Path) -> None:
    """No row twice, none lost, nothing temporary left."""
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp")]
    assert not (root / ".work").exists()
    assert_keys_once(root)
    assert_nothing_lost(root)


def assert_keys_once(root: Path) -> None:
    """The key of a table occurs once, over all of its parts."""
    for folder in _tables(root):
        table = read_footer(next(iter((root / folder).glob("part-*.parquet")))).table
        key = TABLES[table].key
        if table == "index":  # an extension's new tasks have index parts over old audio
            continue
        found = Counter(row[key] for row in rows(root, folder, [key]))
        assert not found or max(found.values()) == 1, (folder, found.most_common(3))


def assert_nothing_lost(root: Path) -> None:
    """What goes into a step comes out of it: as a row or as a rejection."""
    listed = _keys(root, "candidates", "audio_id")
    stored = _keys(root, "audio", "audio_id")
    assert listed == stored + _keys(root, "rejections/ingest", "audio_id")
    for turn in ("restore", "main", "judge"):
        asked = _keys(root, f"requests/{turn}", "request_id")
        answered = _keys(root, f"responses/{turn}", "request_id")
        assert asked == answered + _keys(root, f"rejections/generate.{turn}", "row_id")
    samples = _keys(root, "samples", "sample_id")
    answered = Counter(
        key.partition(":")[0] for key in _keys(root, "responses/main", "request_id")
    )
    assert answered == samples + _keys(root, "rejections/assemble", "row_id")


def _keys(root: Path, folder: str, key: str) -> Counter[str]:
    return Counter(row[key] for row in rows(root, folder, [key]))


def _tables(root: Path) -> set[str]:
    return {str(path.parent.relative_to(root)) for path in root.glob("**/part-*.parquet")}


def _final(root: Path) -> list[Path]:
    return [
        path
        for path in root.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
    ]
