"""WebDataset: tar shards in which a row is a JSON and its clips.

    <stem>-000000.tar:  5f0c1f6e.json  5f0c1f6e.flac  71ab00c2.json  71ab00c2.flac ...

The JSON has the columns of `samples/`, less the token ids and log probabilities of answers. With
several clips they are `<id>.0.flac`, `<id>.1.flac`. What is heard of a clip stands in `messages`,
in frames of the whole clip. A clip that several rows use is there for each of them: a shard is
read from its beginning to its end.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from sllm_data.exporting.checking import check_keys, check_spans, must, sound_in
from sllm_data.exporting.clips import extension
from sllm_data.exporting.conversation import UnheldError
from sllm_data.exporting.layout import Found, Layout, Target, as_json, parsed, sharded
from sllm_data.exporting.rows import Row
from sllm_data.exporting.tars import TarShard, read_tar

_LEFT_OUT = ("response_token_ids", "response_top_token_ids", "response_logprobs")


def _hold(row: Row) -> None:
    if "." in row.sample_id or "/" in row.sample_id:
        raise UnheldError("a sample_id with a dot or a slash in it")


def _write(rows: Iterable[Row], target: Target) -> None:
    for number, shard in sharded(rows, target.rows_per_shard):
        with TarShard(target.folder / f"{target.stem}-{number:06d}.tar") as tar:
            for row in shard:
                columns = {k: value for k, value in row.columns.items() if k not in _LEFT_OUT}
                tar.add(f"{row.sample_id}.json", as_json(_lean(columns)).encode())
                for name, clip in zip(_names(row), row.clips, strict=True):
                    tar.add(name, target.source.bytes_of(clip))


def _names(row: Row) -> Iterator[str]:
    ends = {heard.clip: extension(heard.facts.codec) for heard in row.heard}
    for number, clip in enumerate(row.clips):
        which = f"{number}." if len(row.clips) > 1 else ""
        yield f"{row.sample_id}.{which}{ends.get(clip, 'bin')}"


def _lean(value: Any) -> Any:  # Any: nested values; what is missing or no number is left out
    if isinstance(value, Mapping):
        return {key: _lean(inner) for key, inner in value.items() if _is_there(inner)}
    if isinstance(value, list):
        return [_lean(inner) for inner in value]
    return value


def _is_there(value: Any) -> bool:  # Any: as above
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _check(folder: Path, stem: str) -> Found:
    paths = sorted(folder.glob(f"{stem}-*.tar"))
    must(paths, str(folder), f"must have {stem}-*.tar, there is none")
    num_rows = num_stretches = 0
    for path in paths:
        for key, members in groupby(
            read_tar(path), key=lambda member: member[0].partition(".")[0]
        ):
            num_rows += 1
            num_stretches += _check_row(f"{path}: {key}", dict(members))
    return Found(rows=num_rows, stretches=num_stretches)


def _check_row(where: str, members: Mapping[str, bytes]) -> int:
    (name, content), *sounds = members.items()
    must(name.endswith(".json"), where, f"must begin with its JSON, begins with {name}")
    row = parsed(content, where)
    check_keys(row, where, sample_id=str, messages=list, audio_refs=list, response=str)
    must(name == f"{row['sample_id']}.json", where, "must be named by its sample_id")
    must(len(sounds) == len(row["audio_refs"]), where, f"must have a file for each clip, {name}")
    heard = [sound_in(content, f"{where}: {name}") for name, content in sounds]
    return check_spans(row["messages"], heard, where)


WEBDATASET = Layout(
    reader="WebDataset",
    holds=_hold,
    write=_write,
    check=_check,
    usage="""
import webdataset

rows = webdataset.WebDataset("{folder}/{stem}-{000000..LAST}.tar", shardshuffle=100)
for row in rows.decode():  # row["json"], and row["flac"] in the codec that it came in
    ...
""",
)
