"""A self-contained Hugging Face folder: the rows of `samples/`, each with its clips inside.

`load_dataset(folder)` plays them without a join. Every column is there as the dataset has it, so
nothing is lost: what is heard of a clip stands in `messages`, in frames of the whole clip. Sound
is in the column `audio`, or in the list `audios` where a row has several clips. A clip that
several rows use is there in each of them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from sllm_data.exporting.checking import check_keys, check_spans, must, sound_in
from sllm_data.exporting.clips import ClipSource, extension
from sllm_data.exporting.layout import Found, Layout, Target
from sllm_data.exporting.parquet import (
    SOUND,
    Record,
    columns_of,
    front_of,
    read_shards,
    write_shards,
)
from sllm_data.exporting.rows import Row
from sllm_data.shards import TABLES


def _write(rows: Iterable[Row], target: Target) -> None:
    sound = pa.list_(SOUND) if target.several_clips else SOUND
    name = "audios" if target.several_clips else "audio"
    schema = pa.schema([pa.field(name, sound), *TABLES["samples"].arrow])
    write_shards(
        target,
        _records(rows, target.source, several=target.several_clips),
        schema=schema,
    )


def _records(rows: Iterable[Row], source: ClipSource, *, several: bool) -> Iterator[Record]:
    names = TABLES["samples"].names()
    for row in rows:
        ends = {heard.clip: f".{extension(heard.facts.codec)}" for heard in row.heard}
        sounds = [
            {
                "bytes": source.bytes_of(clip),
                "path": clip.audio_id.rpartition("/")[2] + ends.get(clip, ""),
            }
            for clip in row.clips
        ]
        columns = {name: row.columns.get(name) for name in names}
        heard = {"audios": sounds} if several else {"audio": sounds[0] if sounds else None}
        yield heard | columns


def _check(folder: Path, stem: str) -> Found:
    sound = "audios" if "audios" in columns_of(folder, stem) else "audio"
    num_rows = num_stretches = 0
    for where, row in read_shards(folder, stem, [sound, "audio_refs", "messages", "sample_id"]):
        check_keys(row, where, audio_refs=list, messages=list)
        sounds = (
            row["audios"] if sound == "audios" else [row["audio"]] * (row["audio"] is not None)
        )
        must(
            len(sounds) == len(row["audio_refs"]),
            where,
            f"must have the {len(row['audio_refs'])} clips that it names, has {len(sounds)}",
        )
        must(all(each["bytes"] for each in sounds), where, "a clip must have bytes")
        heard = [sound_in(each["bytes"], where) for each in sounds]
        num_stretches += check_spans(row["messages"], heard, where)
        num_rows += 1
    return Found(rows=num_rows, stretches=num_stretches)


HUGGINGFACE = Layout(
    reader="Hugging Face datasets",
    holds=lambda _row: None,
    write=_write,
    check=_check,
    usage="""
from datasets import load_dataset

rows = load_dataset("{folder}", split="{stem}")
clip = rows[0]["audio"].get_all_samples()  # data: float32, channels x samples
""",
    usage_of_several="""
from datasets import load_dataset

rows = load_dataset("{folder}", split="{stem}")
clips = [each.get_all_samples() for each in rows[0]["audios"]]  # data: float32, channels x samples
""",
    front=front_of,
)
