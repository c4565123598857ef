r"""Ultravox: a Hugging Face folder with one question, one answer and one sound a row.

    audio | prompt "Sum this up.\n\n<|audio|>" | response | transcript | sample_id | ...

Ultravox renders its messages from columns: `ultravox.yaml` beside names them. A stretch of a clip
is cut out; the transcript is the clip's, so it is there for whole clips only.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import yaml

from sllm_data.documents import Document, read_document
from sllm_data.errors import ConfigError, ShardError
from sllm_data.exporting.checking import check_keys, check_marks, must, sound_in
from sllm_data.exporting.clips import ClipSource, extension
from sllm_data.exporting.conversation import (
    Exchange,
    one_stretch,
    single,
    unmarked,
    with_marks,
)
from sllm_data.exporting.layout import Found, Layout, Target, check_is_file
from sllm_data.exporting.parquet import SOUND, Record, front_of, read_shards, write_shards
from sllm_data.exporting.rows import Heard, Row
from sllm_data.shards.schema import SOURCE

_MARK = "<|audio|>"
_CONFIG = "ultravox.yaml"
_TEXTS = ("prompt", "response", "transcript", "sample_id", "kind", "task", "language")
_SCHEMA = pa.schema(
    [
        pa.field("audio", SOUND),
        *(pa.field(name, pa.string()) for name in _TEXTS),
        pa.field("source", SOURCE),
    ]
)
_TEMPLATES = {
    "user_template": "{{prompt}}",
    "assistant_template": "{{response}}",
    "transcript_template": "{{transcript}}",
    "audio_field": "audio",
}


def _held(row: Row) -> tuple[Exchange, Heard, str]:
    _, exchange = single(row, system=False)
    heard = one_stretch(exchange)
    unmarked(exchange.answer, (_MARK,))
    return exchange, heard, with_marks(exchange.asked, _MARK)


def _write(rows: Iterable[Row], target: Target) -> None:
    counted = _Counted(_records(rows, target.source))
    write_shards(target, counted, schema=_SCHEMA)
    split = {"name": target.stem, "num_samples": counted.num}
    config = {"name": "sllm-data", "path": ".", "splits": [split]} | _TEMPLATES
    text = yaml.safe_dump(config, sort_keys=False)
    (target.folder / _CONFIG).write_text(text, encoding="utf-8")


class _Counted:
    """Passes records on and counts them."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self.num = 0

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self.num += 1
            yield record


def _records(rows: Iterable[Row], source: ClipSource) -> Iterator[Record]:
    for row in rows:
        exchange, heard, prompt = _held(row)
        content = source.bytes_of(heard.clip) if heard.is_whole else source.flac(heard)
        codec = heard.facts.codec if heard.is_whole else "flac"
        yield {
            "audio": {"bytes": content, "path": f"{row.sample_id}.{extension(codec)}"},
            "prompt": prompt,
            "response": exchange.answer,
            "transcript": heard.facts.transcript if heard.is_whole else "",
            "sample_id": row.sample_id,
            "kind": row.kind,
            "task": row.task,
            "language": row.columns["language"],
            "source": row.columns["source"],
        }


def _check(folder: Path, stem: str) -> Found:
    path = folder / _CONFIG
    config = _config_of(path)
    for key, value in _TEMPLATES.items():
        must(config.get(key) == value, f"{path}: {key}", f"must be {value!r}")
    num_rows = 0
    for where, row in read_shards(folder, stem, _SCHEMA.names):
        must(row["audio"] and row["audio"]["bytes"], where, "audio must have bytes")
        sound_in(row["audio"]["bytes"], where)
        check_keys(row, where, prompt=str, response=str)
        check_marks(row["prompt"], _MARK, 1, where)
        num_rows += 1
    told = sum(split["num_samples"] for split in config["splits"])
    must(told == num_rows, str(path), f"num_samples must be {num_rows}, is {told}")
    return Found(rows=num_rows, stretches=num_rows)


def _config_of(path: Path) -> Document:
    check_is_file(path)
    try:
        config = read_document(path)
    except ConfigError as error:
        raise ShardError(str(error)) from error
    check_keys(config, str(path), splits=list)
    for split in config["splits"]:
        check_keys(split, f"{path}: splits", num_samples=int)
    return config


ULTRAVOX = Layout(
    reader="Ultravox",
    holds=_held,
    write=_write,
    check=_check,
    usage="""
# in the training configuration of Ultravox; ultravox.yaml beside has all fields
data_sets:
  - {name: sllm-data, path: {folder}, splits: [...], user_template: "{{prompt}}", ...}
train_sets: [{name: sllm-data}]
""",
    front=front_of,
)
