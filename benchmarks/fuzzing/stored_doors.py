"""The doors of what a dataset stores: its parts, and the manifests that list them.

Parquet is read by a library in C++, so that door belongs in a process of its own.
"""

import io
import json
import random
import tempfile
from pathlib import Path

import pyarrow as pa
from fuzzing.documents import as_json, crafted
from fuzzing.mutating import TOKENS, Mutator
from fuzzing.trial import Door, Taken, Target, must
from pyarrow import parquet as pq

from sllm_data.errors import ShardError
from sllm_data.shards import (
    TABLES,
    Manifest,
    PartRecord,
    read_footer,
    read_manifest,
    read_part,
    record_of,
    write_manifest,
    write_part,
)


def _open_parquet(folder: Path) -> Door:
    path = folder / "part-00000.parquet"

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        refused = None
        good = 0
        try:
            footer = read_footer(path)
            must(footer.rows >= 0, f"{footer.rows} rows")
            for kind, counts in footer.counts.items():
                must(isinstance(kind, str), "a kind of count that is no text")
                must(all(isinstance(n, int) for n in counts.values()), "a count that is no number")
            record = record_of(folder, path.name)
            must(record.bytes == len(content), "another size than that of the file")
            good += 1
        except ShardError as error:
            refused = error
        try:
            rows = read_part(path).to_pylist()
            good += len(rows)
        except ShardError as error:
            refused = refused or error
        if refused is not None:
            raise refused
        return Taken(good=good)

    return door


def _parts() -> list[bytes]:
    seeds = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, num_rows in (
            ("rejections", 8),
            ("candidates", 1),
            ("responses", 3),
            ("index", 0),
        ):
            table = TABLES[name]
            rows = [
                {c.name: _example(c.type, number) for c in table.columns}
                for number in range(num_rows)
            ]
            counts = {name: {"x": num_rows}}
            write_part(Path(scratch), "p", rows, table=table, identity="i", counts=counts)
            seeds.append((Path(scratch) / "p").read_bytes())
    return seeds


def _example(kind: pa.DataType, number: int) -> object:
    if pa.types.is_struct(kind):
        return {inner.name: _example(inner.type, number) for inner in kind}
    if pa.types.is_list(kind):
        return [_example(kind.value_type, number)] * 2
    if pa.types.is_boolean(kind):
        return number % 2 == 0
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return number
    return b"x" if pa.types.is_binary(kind) else f"é{number}"


def _craft_part(rng: random.Random) -> bytes:
    """A sound Parquet file whose footer's entries say anything."""
    entries = {
        b"sllm_data.table": b"rejections",
        b"sllm_data.schema_version": b"1",
        b"sllm_data.identity": b"i",
        b"sllm_data.counts": b'{"rejections": {"silent": 3}}',
    }
    mutator = Mutator(tokens=("{", "}", "[", "[[[[", ": ", "null", '{"a": {"b": 1}}', "1e5", "[]"))
    for name in rng.sample(sorted(entries), rng.choice((1, 1, 2))):
        entries[name] = mutator.mutate(rng, entries[name], rng.choice(_WORDS))
    table = pa.table({"row_id": ["x"]}).replace_schema_metadata(entries)
    target = io.BytesIO()
    pq.write_table(table, target)
    return target.getvalue()


_WORDS = [word if isinstance(word, bytes) else word.encode() for word in TOKENS]


def _open_manifest(folder: Path) -> Door:
    path, copy = folder / "ingest.json", folder / "copy.json"

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        manifest = read_manifest(path)
        must(manifest is not None, "a manifest that is there is not found")
        if manifest is None:
            return Taken(good=0)
        digest = manifest.digest()
        write_manifest(copy, manifest)
        again = read_manifest(copy)
        must(again == manifest and again is not None and again.digest() == digest, "it changed")
        for part in manifest.parts:
            must(part.rows >= 0 and part.file.startswith(""), f"a part {part}")
            must(
                ".." not in Path(part.file).parts, f"a part outside of the dataset: {part.file!r}"
            )
            must(not Path(part.file).is_absolute(), f"a part with a whole path: {part.file!r}")
        totals = {kind: sum(counts.values()) for kind, counts in manifest.counts.items()}
        must(all(isinstance(total, int) for total in totals.values()), "a count that is no number")
        json.dumps([manifest.step, manifest.identity, dict(manifest.inputs), dict(manifest.extra)])
        must(manifest.extension >= 0 and manifest.schema_version >= 1, "a number below its least")
        return Taken()

    return door


def _manifests() -> list[bytes]:
    part = PartRecord(
        file="audio/part-00000.parquet", rows=3, bytes=9, sha256="a" * 64, footer_sha256="b" * 64
    )
    manifest = Manifest(
        step="ingest",
        identity="0123456789abcdef",
        inputs={"candidates": "c" * 64},
        parts=(part, part),
        counts={"rows": {"en": 3}, "rejections": {"silent": 1}},
        code_version="0.1.0",
        extra={"libsndfile": "1.2.2"},
    )
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(Path(folder) / "m.json", manifest)
        return [(Path(folder) / "m.json").read_bytes(), b"{}", b"[]"]


_JSON_TOKENS = (
    *("{", "}", "[", "]", ":", ",", '""', "null", "true", "1.5", "-1", "1e400", "NaN", "Infinity"),
    *(
        '"\\ud800"',
        '"\\u0000"',
        "[" * 500,
        '{"a":' * 500,
        '"parts": ',
        '"file": "../x"',
        "[[",
        "{}",
    ),
    *('"step"', '"rows"', '"counts"', '"extra"', '"inputs"', '"extension"', '"schema_version"'),
)
JSON = Mutator(tokens=_JSON_TOKENS, max_bytes=1 << 13)
"""What goes wrong in JSON of any kind."""
TARGETS = (
    Target(
        name="parquet",
        open=_open_parquet,
        seeds=_parts,
        mutator=Mutator(
            tokens=("sllm_data.counts", "PAR1", "PARE", '{"a": 1}', "ARROW:schema"),
            hot="tail",
            hot_bytes=4_000,
            max_bytes=1 << 15,
        ),
        craft=_craft_part,
        in_child=True,
    ),
    Target(
        name="step_manifest",
        open=_open_manifest,
        seeds=_manifests,
        mutator=JSON,
        craft=crafted([json.loads(_manifests()[0])], as_json),
    ),
)
