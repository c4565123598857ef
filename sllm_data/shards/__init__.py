"""The contract of a dataset on disk: schemas, parts, manifests, and the dataset's own README."""

from sllm_data.shards.manifest import Manifest, PartRecord, read_manifest, write_manifest
from sllm_data.shards.parts import (
    check_unchanged,
    part_name,
    read_footer,
    read_part,
    record_of,
    write_part,
)
from sllm_data.shards.schema import SCHEMA_VERSION, TABLES, Column, Table

__all__ = [
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Manifest",
    "PartRecord",
    "Table",
    "check_unchanged",
    "part_name",
    "read_footer",
    "read_manifest",
    "read_part",
    "record_of",
    "write_manifest",
    "write_part",
]
