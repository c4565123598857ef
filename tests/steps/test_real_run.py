"""The main job on real speech with the real engine: all of two corpora, and a kill in between."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from steps_datasets import digests, rows

pytestmark = [pytest.mark.engine, pytest.mark.real_speech]

_GENERATED = ("responses", "samples", "generate.", "assemble")


def _document(real_speech: Path, backbone: Path, root: Path) -> dict[str, object]:
    return {
        "seed": 5,
        "output": str(root),
        "part_size": 60,
        "corpora": [
            {"kind": "librispeech", "path": str(real_speech / "librispeech/LibriSpeech")},
            {
                "kind": "common_voice",
                "path": str(real_speech / "common_voice/cv-corpus-6.1-2020-12-11"),
            },
        ],
        "backbone": {
            "engine": "vllm",
            "model": str(backbone),
            "temperature": 0.9,
            "max_num_seqs": 64,
            "max_model_len": 2048,
            "kv_cache_gib": 1,
            "enforce_eager": True,
            "dtype": "float32",
        },
        "tasks": {
            name: {"max_tokens": 24}
            for name in ("repetition", "intent", "sentiment", "keywords", "continuation")
        }
        | {"translation": {"max_tokens": 24}},
        "prompts": {"max_prompt_tokens": 1500},
        "max_rejected_fraction": 1.0,
    }


def _run(run_yaml: Path) -> subprocess.Popen[bytes]:
    with run_yaml.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sllm_data.cli", "run", str(run_yaml)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def built(real_speech, tiny_backbone, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    run_yaml = folder / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(_document(real_speech, tiny_backbone, folder / "dataset")))
    assert _run(run_yaml).wait() == 0, run_yaml.with_suffix(".log").read_text()
    return folder / "dataset"


def test_every_utterance_of_both_corpora_is_a_row_or_a_rejection(built, real_speech):
    transcripts = [
        line
        for path in (real_speech / "librispeech").glob("LibriSpeech/*/*/*/*.trans.txt")
        for line in path.read_text().splitlines()
    ]
    tables = (real_speech / "common_voice").glob("*/*/validated.tsv")
    clips = sum(len(path.read_text().split("\n")[1:-1]) for path in tables)
    listed = rows(built, "candidates", ["audio_id"])
    stored = {row["audio_id"] for row in rows(built, "audio", ["audio_id"])}
    rejected = {row["audio_id"] for row in rows(built, "rejections/ingest")}
    refused = rows(built, "rejections/candidates")

    assert len(listed) + len(refused) == len(transcripts) + clips
    assert stored | rejected == {row["audio_id"] for row in listed}


def test_every_planned_request_is_a_sample_or_a_rejection(built):
    planned = Counter(row["sample_id"] for row in rows(built, "requests/main"))
    ended = Counter(row["sample_id"] for row in rows(built, "samples", ["sample_id"]))
    ended += Counter(
        row["row_id"].partition(":")[0]
        for step in ("generate.main", "assemble")
        for row in rows(built, f"rejections/{step}")
    )

    assert planned == ended
    assert max(planned.values()) == 1


def test_the_engine_s_answers_carry_what_is_needed_to_ask_again(built):
    generated = [
        row["generator"]
        for row in rows(built, "samples", ["generator"])
        if row["generator"]["engine"] == "vllm"
    ]

    assert len(generated) > 100
    assert {g["prompt_mode"] for g in generated} == {"ids"}
    assert all(g["revision"].startswith("local-") for g in generated)
    assert len({g["seed"] for g in generated}) > len(generated) * 0.99
    assert len({g["request_key"] for g in generated}) == len(generated)


def test_duckdb_pyarrow_and_datasets_read_it_without_this_package(built, tmp_path):
    counted = duckdb.sql(f"SELECT count(*) FROM '{built}/samples/*.parquet'").fetchall()[0][0]
    by_arrow = sum(pq.read_metadata(p).num_rows for p in (built / "samples").glob("*.parquet"))
    samples = load_dataset(str(built), "samples", split="train", cache_dir=str(tmp_path))
    audio = load_dataset(str(built), "audio", split="train", cache_dir=str(tmp_path))

    assert counted == by_arrow == len(samples) > 100
    kinds = {row["codec"].split("/")[0]: row for row in audio.select_columns(["codec"])}
    assert set(kinds) == {"flac", "mp3"}
    assert audio[0]["audio"].get_all_samples().data.shape[1] == audio[0]["num_samples"]


def test_stored_audio_is_the_corpus_s_own_file(built, real_speech):
    found = next(
        row
        for row in rows(built, "audio")
        if row["audio_id"] == "librispeech/slr12/train-clean-5/1737-146161-0000"
    )
    original = next((real_speech / "librispeech").glob("**/1737-146161-0000.flac"))

    assert found["audio"]["bytes"] == original.read_bytes()
    assert found["speaker"]["gender"] in {"female", "male"}


def test_killed_while_generating_everything_but_answers_is_the_same(
    built, real_speech, tiny_backbone, tmp_path
):
    root, run_yaml = tmp_path / "dataset", tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(_document(real_speech, tiny_backbone, root)))
    killed = _run(run_yaml)
    while killed.poll() is None and not list(root.glob("responses/main/part-*.parquet")):
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert _run(run_yaml).wait() == 0, run_yaml.with_suffix(".log").read_text()

    def fixed(folder: Path) -> dict[str, str]:
        return {n: d for n, d in digests(folder).items() if not any(g in n for g in _GENERATED)}

    assert fixed(root) == fixed(built)

    def asked(folder: Path) -> list[tuple[str, str]]:
        return [(r["request_id"], r["request_key"]) for r in rows(folder, "responses/main")]

    assert asked(root) == asked(built)


def test_the_summary_of_the_engine_s_work_is_kept(built):
    summary = json.loads((built / "reports/generate.main.json").read_text())

    assert summary["responses"] > 100
    assert 0 < summary["engine_busy_share"] <= 1
