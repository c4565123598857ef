"""Speaking the world: the same bytes, resumed runs, refusals; the pipeline reads the corpora."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from sllm_data.config import resolve
from sllm_data.errors import OutputError
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress, run_all
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.layouts import Amount
from sllm_data.testbed.spoken_world import WorldCorpus, WorldLayout

LAYOUTS = ("librispeech", "common-voice", "dialogues")
SERIAL = RunnerConfig(kind="serial")
SILENT = Progress(None)


def world(layout: WorldLayout, **fields: Any) -> WorldCorpus:
    small = {"hours": 0.02, "layout": layout, "seed": 1, "num_voices": 2}
    return WorldCorpus(**small | {"overlap": 0.5 if layout == "dialogues" else 0.0} | fields)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> dict[str, tuple[Path, dict[str, Amount]]]:
    """A corpus of each layout, with what was said to be in it."""
    folder = tmp_path_factory.mktemp("speak")
    return {
        layout: (folder / layout, speak_world(folder / layout, world(layout), SERIAL, SILENT))
        for layout in LAYOUTS
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_arguments_give_the_same_bytes_in_several_processes(spoken, layout, tmp_path):
    two = RunnerConfig(kind="processes", workers=2)
    amounts = speak_world(tmp_path / "again", world(layout), two, SILENT)
    folder, said = spoken[layout]
    assert amounts == said
    assert digests(tmp_path / "again") == digests(folder)


def test_a_finished_corpus_is_left_as_it_is(spoken):
    folder, said = spoken["librispeech"]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    assert speak_world(folder, world("librispeech"), SERIAL, SILENT) == said
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")} == before


def test_another_seed_says_other_stories(spoken, tmp_path):
    speak_world(tmp_path, world("librispeech", seed=2), SERIAL, SILENT)
    mine, theirs = (
        {
            line.partition(" ")[2]
            for path in folder.rglob("*.trans.txt")
            for line in path.read_text().splitlines()
        }
        for folder in (tmp_path, spoken["librispeech"][0])
    )
    assert not mine & theirs


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path):
    command = [sys.executable, "-m", "sllm_data.cli", "testbed", "speak", str(tmp_path / "killed")]
    process = subprocess.Popen([*command, "--hours", "0.08", "--workers", "1"])
    receipts = tmp_path / "killed" / ".receipts"
    while len(list(receipts.rglob("*.json"))) < 2 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("*.flac")}
    assert not (tmp_path / "killed/SPEAKERS.TXT").exists()

    corpus = WorldCorpus(hours=0.08, layout="librispeech", seed=1)
    for name in ("killed", "whole"):
        speak_world(tmp_path / name, corpus, SERIAL, SILENT)
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    assert sum(path.stat().st_mtime_ns == was for path, was in kept.items()) > len(kept) / 2


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("notes.txt", "mine", "found other files and no speech.json"),
        ("speech.json", "{", "must be what `testbed speak` wrote, found something else"),
        ("speech.json", "[]", "must be what `testbed speak` wrote, found something else"),
        ("speech.json", '{"asked": {"seed": 7}, "written": null}', "found one with .*seed 7"),
    ],
)
def test_a_folder_that_holds_something_else_is_refused(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content)
    with pytest.raises(OutputError, match=sentence):
        speak_world(tmp_path, world("librispeech"), SERIAL, SILENT)
    assert (tmp_path / name).read_text() == content


def test_a_corpus_with_other_arguments_is_refused(spoken):
    folder, _ = spoken["librispeech"]
    with pytest.raises(OutputError, match=r"found one with hours 0\.02; choose another folder"):
        speak_world(folder, world("librispeech", hours=0.5), SERIAL, SILENT)


def entries(spoken: dict[str, tuple[Path, dict[str, Amount]]]) -> list[dict[str, Any]]:
    librispeech, common_voice, dialogues = (spoken[layout][0] for layout in LAYOUTS)
    return [
        {"kind": "librispeech", "path": str(librispeech), "version": "world"},
        {
            "kind": "common_voice",
            "path": str(common_voice),
            "version": "world",
            "tsv": ["train", "dev", "test", "other"],
        },
        {
            "kind": "manifest",
            "path": str(dialogues),
            "manifests": sorted(path.name for path in dialogues.glob("*.jsonl")),
            "name": "dialogues",
        },
    ]


def test_the_pipeline_reads_all_three_layouts(spoken, tmp_path):
    document = {
        "seed": 1,
        "output": str(tmp_path / "dataset"),
        "corpora": entries(spoken),
        "backbone": {"engine": "scripted"},
        "filters": {"wrong_language": False, "copied": False},
        "runner": {"kind": "serial"},
    }
    config = resolve(yaml.safe_load(yaml.safe_dump(document)), where="test")
    reports = {report.step: report for report in run_all(config, SILENT)}
    said = sum(
        amount.num_utterances for _, amounts in spoken.values() for amount in amounts.values()
    )
    assert reports["ingest"].rows == said
    assert reports["ingest"].rejected == reports["candidates"].rejected == 0
    assert reports["index"].rejected == 0
    assert reports["assemble"].rows > 0


def test_the_note_says_what_was_asked_for_and_what_there_is(spoken):
    folder, amounts = spoken["dialogues"]
    note = json.loads((folder / "speech.json").read_text())
    assert note["asked"] == {
        "hours": 0.02,
        "layout": "dialogues",
        "seed": 1,
        "num_voices": 2,
        "overlap": 0.5,
        "num_events": None,
    }
    assert note["written"].keys() == amounts.keys()
    assert not (folder / ".receipts").exists()
