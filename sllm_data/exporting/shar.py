"""lhotse Shar: cuts in JSON lines, and their recordings in tar files in step with them.

    shar/cuts.000000.jsonl      {"id": ..., "start": 1.2, "duration": 3.4, "recording": {...}, ...}
    shar/recording.000000.tar   <id>.flac <id>.json <id>.flac <id>.json ...

A cut is what a row hears of its clip, from the first frame to the last: an offset and a duration
in the whole clip, which is there in its own codec; of MP3 and its like, in which no position is
sure, it is cut out instead. One question about one stretch is what NeMo's
`lhotse_as_conversation` takes: the answer is the text of the only supervision, the instruction
`context`. Every other row (several turns, text and speech by turns) has a supervision for each
stretch, with its times and without text, so that no reader takes it for the simple kind; the
whole conversation stands in `messages` of each cut. The lines are not compressed, as lhotse's
indexed reading needs it. Each row has its own recording, also where several hear one clip: the
layout pairs them one by one. Nothing but shards may lie in `shar/`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sllm_data.errors import ShardError
from sllm_data.exporting.checking import check_keys, must, sound_in
from sllm_data.exporting.clips import ClipSource, extension
from sllm_data.exporting.conversation import UnheldError, instruction_beside, single
from sllm_data.exporting.layout import (
    Found,
    Json,
    Layout,
    Target,
    as_json,
    parsed,
    read_lines,
    sharded,
)
from sllm_data.exporting.rows import Heard, Row, Text
from sllm_data.exporting.tars import TarShard, read_tar
from sllm_data.units import Samples, to_seconds

_ROUNDING_S = 1e-6
Member = tuple[str, bytes]


def _range(row: Row) -> Heard:
    """Returns what a row hears, from its first frame to its last, as one stretch.

    Raises:
        UnheldError: It is nothing, or not of one clip.
    """
    heard = row.heard
    if not heard:
        raise UnheldError("no speech")
    if len({each.clip for each in heard}) > 1:
        raise UnheldError("several clips")
    if any(each.gain_db for each in heard):
        raise UnheldError("a change of level")
    start = min(each.start for each in heard)
    end = max(each.start + each.num_samples for each in heard)
    return replace(heard[0], start=start, num_samples=end - start)


def _cut(row: Row) -> Json:
    heard = _range(row)
    if "." in row.sample_id or "/" in row.sample_id:
        raise UnheldError("a sample_id with a dot or a slash in it")
    columns = row.columns
    custom = {
        "messages": _messages(row, heard.start),
        "response": row.response,
        "finish_reason": columns["finish_reason"],
        "kind": row.kind,
        "task": row.task,
        "audio_id": heard.clip.audio_id,
        "transcript": columns["transcript"],
        "source": columns["source"],
    }
    simple = _simple(row)
    return {
        "id": row.sample_id,
        "start": heard.offset_s if heard.is_found_in_file else 0.0,
        "duration": heard.duration_s,
        "channel": _channels(heard),
        "supervisions": list(_supervisions(row, heard.start, answer=simple.get("answer"))),
        "recording": _recording(row),
        "custom": custom | {key: text for key, text in simple.items() if key != "answer"},
        "type": "MultiCut" if heard.facts.num_channels > 1 else "MonoCut",
    }


def _channels(heard: Heard) -> int | list[int]:
    return list(range(heard.facts.num_channels)) if heard.facts.num_channels > 1 else 0


def _simple(row: Row) -> dict[str, str]:
    """Returns answer, context and system prompt of a row of the simple kind; of others nothing."""
    try:
        system, exchange = single(row, system=True)
        context, _ = instruction_beside(exchange)
    except UnheldError:
        return {}
    found = {"answer": exchange.answer, "context": context, "system_prompt": system}
    return {key: text for key, text in found.items() if text}


def _supervisions(row: Row, start: int, *, answer: str | None) -> Iterator[Json]:
    language = row.columns["language"]
    speakers = row.columns["speakers"]
    speaker = speakers[0]["id"] if speakers else None
    for number, heard in enumerate(row.heard):
        rate = heard.facts.rate_hz
        line: dict[str, Any] = {  # Any: JSON values
            "id": f"{row.sample_id}-{number}",
            "recording_id": row.sample_id,
            "start": to_seconds(Samples(heard.start - start), rate),
            "duration": heard.duration_s,
            "channel": _channels(heard),
            "language": language,
        }
        if speaker:
            line["speaker"] = speaker
        if answer:
            line["text"] = answer
        yield line


def _messages(row: Row, start: int) -> list[Json]:
    return [
        {"role": turn.role, "content": [_span(span, start) for span in turn.content]}
        for turn in row.turns
    ]


def _span(span: Text | Heard, start: int) -> Json:
    if isinstance(span, Text):
        return {"type": "text", "text": span.text, "supervised": span.supervised}
    offset = to_seconds(Samples(span.start - start), span.facts.rate_hz)
    return {"type": "audio", "start": offset, "duration": span.duration_s}


def _recording(row: Row) -> Json:
    heard = _range(row)
    facts = heard.facts
    # a clip in which no position is sure is cut, and the cut is all of the recording
    num_samples = facts.num_samples if heard.is_found_in_file else heard.num_samples
    channels = list(range(facts.num_channels))
    return {
        "id": row.sample_id,
        "sources": [{"type": "shar", "channels": channels, "source": ""}],
        "sampling_rate": facts.rate_hz,
        "num_samples": num_samples,
        "duration": to_seconds(Samples(num_samples), facts.rate_hz),
        "channel_ids": channels,
    }


def _sound(row: Row, source: ClipSource) -> Member:
    heard = _range(row)
    if heard.is_found_in_file:
        name = f"{row.sample_id}.{extension(heard.facts.codec)}"
        return name, source.bytes_of(heard.clip)
    return f"{row.sample_id}.flac", source.flac(heard)


def _write(rows: Iterable[Row], target: Target) -> None:
    folder = target.folder / "shar"
    folder.mkdir()
    for number, shard in sharded(rows, target.rows_per_shard):
        with (
            (folder / f"cuts.{number:06d}.jsonl").open(
                "w", encoding="utf-8", newline="\n"
            ) as cuts,
            TarShard(folder / f"recording.{number:06d}.tar") as tar,
        ):
            for row in shard:
                cuts.write(as_json(_cut(row)) + "\n")
                tar.add(*_sound(row, target.source))
                tar.add(f"{row.sample_id}.json", as_json(_recording(row)).encode())


def _check(folder: Path, stem: str) -> Found:
    del stem  # shards have the names that lhotse looks for
    folder = folder / "shar"
    cuts = sorted(folder.glob("cuts.*.jsonl"))
    must(cuts, str(folder), "must have cuts.*.jsonl, there is none")
    known = {path.name for path in cuts}
    tars = {path.name.replace("cuts.", "recording.").replace(".jsonl", ".tar") for path in cuts}
    others = {path.name for path in folder.iterdir()} ^ (known | tars)
    must(not others, str(folder), f"must have cuts and recordings in pairs alone: {others}")
    num_rows = num_stretches = 0
    for path in cuts:
        tar = folder / path.name.replace("cuts.", "recording.").replace(".jsonl", ".tar")
        members = read_tar(tar)
        for where, row in read_lines(path):
            num_rows += 1
            num_stretches += _check_cut(where, row, next(members, None), next(members, None))
        must(
            next(members, None) is None, str(tar), f"must have two members for each cut of {path}"
        )
    return Found(rows=num_rows, stretches=num_stretches)


def _check_cut(where: str, row: Json, sound: Member | None, manifest: Member | None) -> int:
    types = {"id": str, "start": float, "duration": float, "supervisions": list, "custom": dict}
    check_keys(row, where, **types)
    if sound is None or manifest is None:
        raise ShardError(f"{where}: must have a recording in the tar, there is none left")
    names = (sound[0].rpartition(".")[0], manifest[0])
    told = (row["id"], f"{row['id']}.json")
    must(names == told, where, f"must have its recording beside it, found {sound[0]}")
    there = sound_in(sound[1], f"{where}: {sound[0]}")
    recording = parsed(manifest[1], f"{where}: {manifest[0]}")
    check_keys(recording, where, id=str, sampling_rate=int, num_samples=int, duration=float)
    must(there.rate_hz == recording["sampling_rate"], where, "must be at the rate it says")
    exact = abs(there.num_samples - recording["num_samples"]) <= there.slack
    must(exact, where, f"must have {recording['num_samples']} frames, has {there.num_samples}")
    end = row["start"] + row["duration"]
    inside = row["start"] >= 0 and end <= recording["duration"] + _ROUNDING_S
    must(inside, where, f"must lie in its {recording['duration']:.3f} s, ends at {end:.3f} s")
    for supervision in row["supervisions"]:
        check_keys(supervision, where, id=str, recording_id=str, start=float, duration=float)
        stop = supervision["start"] + supervision["duration"]
        inside = supervision["start"] >= 0 and stop <= row["duration"] + _ROUNDING_S
        must(inside, where, f"a supervision must lie in its cut, ends at {stop:.3f} s")
    must(row["supervisions"], where, "must have a supervision")
    return len(row["supervisions"])


LHOTSE_SHAR = Layout(
    reader="lhotse",
    holds=_cut,
    write=_write,
    check=_check,
    usage="""
from lhotse import CutSet

for cut in CutSet.from_shar(in_dir="{folder}/shar"):
    samples = cut.load_audio()  # what the row hears, from its first frame to its last
""",
)
