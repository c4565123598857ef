"""Exports read by the libraries they are for: same rows, same samples of sound."""

import gc
import io
import json
import math
import shutil
import warnings

import datasets
import lhotse
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import webdataset
import yaml

from sllm_data.audio.decode import decode
from sllm_data.shards import TABLES
from tests.exporting.shapes import SHAPES, plain_row


def spans(row):
    return [span for turn in row["messages"] for span in turn["content"]]


def stretches(row, clips):
    """Samples of all that a row hears, each int16 (num_samples, num_channels)."""
    for span in spans(row):
        if span["type"] == "audio":
            clip = clips[row["audio_refs"][span["audio_index"]]["audio_id"]]
            samples = decode(clip["audio"]["bytes"]).samples
            yield samples[span["start_sample"] :][: span["num_samples"]]


def as_int16(samples):
    """Floats of a decoder, channels first, as the 16-bit samples that they were."""
    return np.rint(np.asarray(samples).T * 32768).clip(-32768, 32767).astype(np.int16)


def cuts_of(folder):
    return _all(lhotse.CutSet.from_shar(in_dir=str(folder / "shar")))


def rows_of(folder):
    urls = [str(path) for path in sorted(folder.glob("train-*.tar"))]
    return _all(webdataset.WebDataset(urls, shardshuffle=False).decode())


def _all(items):
    """All of a stream; both libraries leave each tar open, which is not what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        found = list(items)
        del items
        gc.collect()
    return found


def loaded(folder, split="train"):
    return datasets.load_dataset(str(folder), split=split)


def test_datasets_plays_each_row_and_has_every_column(spoken, spoken_rows, clips, export):
    rows = loaded(export(spoken, "huggingface"))
    assert rows.column_names == ["audio", *TABLES["samples"].names()]
    assert rows.num_rows == len(spoken_rows)
    for row, given in zip(rows, spoken_rows, strict=True):
        played = row["audio"].get_all_samples()
        clip = clips[given["audio_refs"][0]["audio_id"]]
        assert played.sample_rate == clip["sampling_rate"]
        assert (as_int16(played.data) == decode(clip["audio"]["bytes"]).samples).all()
        assert {name: row[name] for name in given} == given


def test_datasets_plays_several_clips_of_a_row(dataset, export):
    several, silent = plain_row("s0"), plain_row("s1")
    SHAPES["several clips"](several)
    SHAPES["text only"](silent)
    root = dataset(several, silent)
    folder = export(root, "huggingface")
    assert 'for each in rows[0]["audios"]' in (folder / "README.md").read_text()
    rows = loaded(folder)
    stored = pq.read_table(root / "audio/part-00000.parquet")["audio"].to_pylist()
    played = [sound.get_all_samples().data for sound in rows[0]["audios"]]
    for samples, clip in zip(played, stored, strict=True):
        assert (as_int16(samples) == decode(clip["bytes"]).samples).all()
    assert rows[1]["audios"] == []


def test_datasets_does_not_play_an_older_export_of_the_same_name(dataset, export, tmp_path):
    first = export(dataset(plain_row("s0")), "huggingface")
    assert loaded(first)["sample_id"][:] == ["s0"]
    shutil.rmtree(first)
    assert loaded(export(dataset(plain_row("s1")), "huggingface"))["sample_id"][:] == ["s1"]


def test_datasets_streams_shards_and_sound_is_not_compressed_once_more(
    spoken, spoken_rows, export
):
    folder = export(spoken, "huggingface", rows_per_shard=5)
    shards = sorted((folder / "data").iterdir())
    assert [path.name[-14:] for path in shards] == [
        f"-{n:05d}.parquet" for n in range(len(shards))
    ]
    assert len(shards) == math.ceil(len(spoken_rows) / 5)
    group = pq.ParquetFile(shards[0]).metadata.row_group(0)
    codings = {
        group.column(k).path_in_schema: group.column(k).compression
        for k in range(group.num_columns)
    }
    assert codings.pop("audio.bytes") == "UNCOMPRESSED"
    assert set(codings.values()) == {"ZSTD"}
    rows = datasets.load_dataset(str(folder), split="train", streaming=True)
    assert sum(1 for _ in rows) == len(spoken_rows)


def test_ultravox_finds_its_columns_and_the_sound_is_what_is_heard(
    spoken, spoken_rows, clips, export
):
    folder = export(spoken, "ultravox")
    config = yaml.safe_load((folder / "ultravox.yaml").read_text())
    rows = loaded(folder)
    assert config["splits"] == [{"name": "train", "num_samples": rows.num_rows}]
    given = {row["sample_id"]: row for row in spoken_rows}
    assert rows.num_rows == sum(len(list(stretches(row, clips))) == 1 for row in spoken_rows)
    for row in rows:
        sample = given[row["sample_id"]]
        (heard,) = stretches(sample, clips)
        assert (as_int16(row[config["audio_field"]].get_all_samples().data) == heard).all()
        first = spans({"messages": sample["messages"][:1]})
        asked = "".join(span["text"] or "<|audio|>" for span in first)
        assert (row["prompt"], row["response"]) == (asked, sample["response"])
        assert row["source"] == sample["source"]


def test_webdataset_gives_rows_with_their_clips(spoken, spoken_rows, clips, export):
    folder = export(spoken, "webdataset")
    assert len(list(folder.glob("*.tar"))) == math.ceil(len(spoken_rows) / 7)
    rows = rows_of(folder)
    assert [row["__key__"] for row in rows] == [row["sample_id"] for row in spoken_rows]
    for row, given in zip(rows, spoken_rows, strict=True):
        clip = clips[given["audio_refs"][0]["audio_id"]]
        assert row["flac"] == clip["audio"]["bytes"]
        assert lean(given["messages"]) == row["json"]["messages"]
        assert row["json"]["generator"]["request_key"] == given["generator"]["request_key"]


def lean(value):
    if isinstance(value, dict):
        return {key: lean(inner) for key, inner in value.items() if inner is not None}
    return [lean(inner) for inner in value] if isinstance(value, list) else value


def test_webdataset_numbers_several_clips(dataset, export):
    folder = export(dataset(change=SHAPES["several clips"]), "webdataset")
    (row,) = rows_of(folder)
    assert sorted(row.keys() - {"__key__", "__url__", "__local_path__"}) == [
        "0.flac",
        "1.flac",
        "json",
    ]
    lengths = [soundfile.info(io.BytesIO(row[f"{n}.flac"])).frames for n in (0, 1)]
    assert lengths == [16_000, 8_000]


def test_lhotse_hears_what_each_row_hears(spoken, spoken_rows, clips, export):
    cuts = cuts_of(export(spoken, "lhotse-shar"))
    assert [cut.id for cut in cuts] == [row["sample_id"] for row in spoken_rows]
    for cut, row in zip(cuts, spoken_rows, strict=True):
        heard = list(stretches(row, clips))
        sound = as_int16(cut.load_audio())
        assert len(cut.supervisions) == len(heard)
        for supervision, samples in zip(cut.supervisions, heard, strict=True):
            start = round(supervision.start * cut.sampling_rate)
            assert (sound[start : start + len(samples)] == samples).all()
        trimmed = [as_int16(each.load_audio()) for each in cut.trim_to_supervisions()]
        assert [len(each) for each in trimmed] == [len(each) for each in heard]
        assert cut.custom["source"] == row["source"]


def test_lhotse_has_context_and_answer_of_the_simple_kind_and_of_no_other(
    spoken, spoken_rows, export
):
    cuts = cuts_of(export(spoken, "lhotse-shar"))
    simple = {row["sample_id"] for row in spoken_rows if row["kind"] == "instruct"}
    seen = 0
    for cut, row in zip(cuts, spoken_rows, strict=True):
        if cut.id not in simple:
            continue
        seen += 1
        said = "".join(span["text"] or "" for span in spans(row)[:-1]).strip()
        assert (cut.context, cut.supervisions[0].text) == (said, row["response"])
    assert seen > 4
    others = [cut for cut in cuts if len(cut.supervisions) > 1]
    assert others
    assert all(not each.text for cut in others for each in cut.supervisions)
    assert not any("context" in cut.custom for cut in others)


@pytest.mark.parametrize("name", ["ms-swift", "llama-factory", "nemo", "nemo-single", "desta"])
def test_datasets_reads_the_lines_of_the_others(name, spoken, export, tmp_path):
    path = export(spoken, name) / "train.jsonl"
    rows = datasets.load_dataset("json", data_files=str(path), split="train")
    assert rows.num_rows == len(path.read_text().splitlines())
    assert all(json.loads(line) for line in path.read_text().splitlines())
