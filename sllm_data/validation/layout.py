"""Level 0: how a part is stored, and how its footer describes it to other programs.

The policy is that of `shards.parts`, measured for audio next to text. A part of another
program that is stored otherwise is right, only slower to read: there these are warnings.
"""

import json
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.shards.features import features_of, footer_entry
from sllm_data.shards.parts import AUDIO_ROWS_PER_GROUP, TEXT_ROWS_PER_GROUP
from sllm_data.validation.findings import Finding, shown
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part

RULES = (
    Rule(
        name="huggingface_entry",
        level=0,
        meaning="a footer describes the columns to the `datasets` library, so that it plays the "
        "audio",
        foreign="warning",
    ),
    Rule(
        name="layout_compression",
        level=0,
        meaning="`audio.bytes` is stored uncompressed, everything else with zstd",
        foreign="warning",
    ),
    Rule(
        name="layout_pages",
        level=0,
        meaning="every column has a page index, and `audio.bytes` is stored PLAIN without a "
        "dictionary",
        foreign="warning",
    ),
    Rule(
        name="layout_row_groups",
        level=0,
        meaning=f"a row group has at most {AUDIO_ROWS_PER_GROUP} rows of audio, "
        f"{TEXT_ROWS_PER_GROUP:,} of any other table",
        foreign="warning",
    ),
)

_BYTES = "audio.bytes"


def layout_faults(part: Part, metadata: pq.FileMetaData) -> Iterator[Finding]:
    """Yields where columns are stored otherwise than `shards.parts` stores them."""
    most = AUDIO_ROWS_PER_GROUP if part.table == "audio" else TEXT_ROWS_PER_GROUP
    reported: set[tuple[str, str]] = set()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.num_rows > most and ("layout_row_groups", "") not in reported:
            reported.add(("layout_row_groups", ""))
            yield Finding(
                rule="layout_row_groups",
                part=part.file,
                value=str(group.num_rows),
                message=f"row group {number} must have at most {most} rows",
            )
        for position in range(metadata.num_columns):
            chunk = group.column(position)
            for rule, value, message in _chunk_faults(chunk):
                if (rule, chunk.path_in_schema) in reported:
                    continue
                reported.add((rule, chunk.path_in_schema))
                yield Finding(
                    rule=rule,
                    part=part.file,
                    column=chunk.path_in_schema,
                    value=value,
                    message=message,
                )


def _chunk_faults(chunk: pq.ColumnChunkMetaData) -> Iterator[tuple[str, str, str]]:
    path = chunk.path_in_schema
    compression = "UNCOMPRESSED" if path == _BYTES else "ZSTD"
    if chunk.compression != compression:
        yield "layout_compression", chunk.compression, f"must be stored {compression}"
    if not chunk.has_offset_index:
        yield "layout_pages", "", "must have a page index"
    if path == _BYTES and chunk.has_dictionary_page:
        yield "layout_pages", "dictionary", "must be stored PLAIN, without a dictionary"


def huggingface_faults(
    part: Part, entries: Mapping[str, str], schema: pa.Schema
) -> Iterator[Finding]:
    """Yields the columns that the footer's `huggingface` entry does not describe."""
    entry = entries.get("huggingface", "")
    if entry == footer_entry(schema):
        return
    try:
        features = json.loads(entry)["info"]["features"]
        wrong = [n for n, feature in features_of(schema).items() if features.get(n) != feature]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        wrong = ["huggingface"]
    for name in wrong:
        yield Finding(
            rule="huggingface_entry",
            part=part.file,
            column=name,
            value=shown(entry),
            message="the footer's huggingface entry must describe it as `datasets` words it",
        )
