"""Real LibriSpeech (FLAC) and Common Voice (MP3) through every layout, cut and whole."""

from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from sllm_data.config import resolve
from sllm_data.exporting import FORMATS, Selection, plan_export, write_export
from sllm_data.steps import Progress, run_all
from tests.exporting.test_libraries import as_int16, cuts_of, loaded, rows_of, stretches
from tests.exporting.test_trainers import chat, conversation, lines, nemo, same

pytestmark = pytest.mark.real_speech


@pytest.fixture(scope="module")
def real(real_speech, tmp_path_factory) -> Path:
    (common_voice,) = (real_speech / "common_voice").glob("cv-corpus-*")
    root = tmp_path_factory.mktemp("real") / "dataset"
    document = {
        "seed": 5,
        "output": str(root),
        "part_size": 12,
        "recipe": "behaviour_imitation",
        "corpora": [
            {
                "kind": "librispeech",
                "path": str(real_speech / "librispeech/LibriSpeech"),
                "limit": 24,
            },
            {"kind": "common_voice", "path": str(common_voice), "locales": ["en"], "limit": 24},
        ],
        "backbone": {"engine": "scripted"},
        "alignment": {"min_aligned_fraction": 0.5},
        "interleave": {"chance": 0.6, "min_audio_s": 0.5},
        "filters": {"wrong_language": False, "copied": False, "truncated": "drop"},
        "runner": {"kind": "serial"},
        "max_rejected_fraction": 1.0,
    }
    for _ in run_all(resolve(document, where="test"), Progress(None)):
        pass
    return root


@pytest.fixture(scope="module")
def everything(real):
    """Rows by id and clips by id."""
    tables = []
    for table, key in (("samples", "sample_id"), ("audio", "audio_id")):
        paths = sorted((real / table).iterdir())
        rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
        tables.append({row[key]: row for row in rows})
    return tables


@pytest.fixture(scope="module")
def exported(real, tmp_path_factory):
    """Every layout, all that it holds of the whole dataset's training split."""
    folder = tmp_path_factory.mktemp("exported")
    for name in FORMATS:
        plan = plan_export(real, name, Selection(eval_group="all"), skip=True)
        assert write_export(plan, folder / name).is_checked
    return folder


def test_both_codecs_are_heard_whole_and_cut(everything):
    rows, clips = everything
    found = {
        (clips[row["audio_refs"][0]["audio_id"]]["codec"], row["kind"]) for row in rows.values()
    }
    kinds = ("instruct", "interleaved")
    assert found == {
        (codec, kind) for codec in ("flac/pcm_16", "mp3/mpeg_layer_iii") for kind in kinds
    }


@pytest.mark.parametrize(("name", "read"), [("ms-swift", chat), ("nemo", nemo)])
def test_conversations_are_what_the_rows_say(name, read, exported, everything):
    rows, clips = everything
    found = lines(exported / name)
    assert len(found) > 10
    for line in found:
        row = rows[line.get("sample_id") or line["id"]]
        same(list(read(line, exported / name)), conversation(row, clips))


def test_lhotse_hears_mp3_too(exported, everything):
    rows, clips = everything
    cuts = cuts_of(exported / "lhotse-shar")
    assert len(cuts) > 10
    for cut in cuts:
        sound = as_int16(cut.load_audio())
        heard = list(stretches(rows[cut.id], clips))
        for supervision, samples in zip(cut.supervisions, heard, strict=True):
            start = round(supervision.start * cut.sampling_rate)
            part = sound[start : start + len(samples)].astype(int)
            assert part.shape == samples.shape
            assert np.abs(part - samples).max() <= 1  # floats of MP3, rounded


def test_datasets_has_the_bytes_of_each_clip_and_plays_it(exported, everything):
    _, clips = everything
    folder = exported / "huggingface"
    stored = loaded(folder).cast_column("audio", datasets.Audio(decode=False))
    for row, played in zip(stored, loaded(folder), strict=True):
        clip = clips[row["audio_refs"][0]["audio_id"]]
        assert row["audio"]["bytes"] == clip["audio"]["bytes"]
        samples = played["audio"].get_all_samples()
        assert samples.sample_rate == clip["sampling_rate"]
        # another decoder counts the padding of an MP3 otherwise
        assert samples.data.shape[1] == pytest.approx(clip["num_samples"], abs=0.1 * 48_000)


def test_webdataset_has_the_codec_that_each_clip_came_in(exported, everything):
    rows, clips = everything
    for row in rows_of(exported / "webdataset"):
        clip = clips[rows[row["__key__"]]["audio_refs"][0]["audio_id"]]
        end = {"flac/pcm_16": "flac", "mp3/mpeg_layer_iii": "mp3"}[clip["codec"]]
        assert row[end] == clip["audio"]["bytes"]
