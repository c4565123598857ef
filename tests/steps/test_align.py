"""The step `align` in a run: who aligns what, what is refused, and what a stop leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from steps_datasets import build, digests, rows

from sllm_data.config import resolve
from sllm_data.errors import ConfigError, CorpusError, ModelError, RejectedError
from sllm_data.shards import read_manifest
from sllm_data.steps import Progress, run_step


@pytest.fixture
def aligned(world_document):
    """Runs a dataset up to its word times."""

    def make(root: Path, **alignment: object) -> Path:
        config = resolve(world_document(root, alignment=alignment), where="test")
        for step in ("candidates", "ingest", "index", "align"):
            run_step(config, step, Progress(None))
        return root

    return make


def true_ends(world: Path, name: str) -> list[tuple[str, float]]:
    for path in world.rglob("*.alignment.txt"):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name} "):
                _, words, _, ends, _ = line.split('"')
                pairs = zip(words.split(","), map(float, ends.split(",")), strict=True)
                return [(word, end) for word, end in pairs if word]
    raise LookupError(name)


def test_imported_times_are_those_of_the_files(world, aligned, tmp_path):
    root = aligned(tmp_path / "d", backend="files", files=str(world))
    audio = {row["audio_id"]: row for row in rows(root, "audio", ["audio_id", "transcript"])}
    found = rows(root, "alignments")
    assert len(found) == len(audio) > 10
    for row in found:
        ends = [(w["start_sample"] + w["num_samples"]) / 16_000 for w in row["words"]]
        true = true_ends(world, row["audio_id"].rsplit("/", 1)[-1])
        assert [w["text"].strip() for w in row["words"]] == [word for word, _ in true]
        assert ends == pytest.approx([end for _, end in true], abs=1e-4)
        assert "".join(w["text"] for w in row["words"]) == audio[row["audio_id"]]["transcript"]
        assert row["backend"] == "files"
    manifest = read_manifest(root / "manifest/align.json")
    assert manifest is not None
    assert manifest.counts["backends"] == {"files": len(found)}
    assert manifest.counts["aligned_splits"] == manifest.counts["eligible_splits"]


def test_what_the_files_lack_pocketsphinx_finds(world, aligned, tmp_path):
    some = tmp_path / "some"
    for path in sorted(world.rglob("*.alignment.txt"))[:1]:
        some.mkdir()
        (some / path.name).write_bytes(path.read_bytes())
    root = aligned(tmp_path / "d", backend="auto", files=str(some), min_aligned_fraction=0.0)
    assert {row["backend"] for row in rows(root, "alignments")} == {"files", "pocketsphinx"}


def test_a_split_of_which_too_little_aligns_fails_unless_the_bound_is_lower(
    world, aligned, tmp_path
):
    some = tmp_path / "some.alignment.txt"
    lines = [
        line
        for path in sorted(world.rglob("*.alignment.txt"))
        for line in path.read_text().splitlines(keepends=True)
    ]
    some.write_text("".join(lines[::2]))
    alignment = {"backend": "files", "files": str(some)}
    with pytest.raises(RejectedError, match=r"of the split \w+, fewer than .* 0\.95 asks for"):
        aligned(tmp_path / "d", **alignment)
    before = digests(tmp_path / "d")
    root = aligned(tmp_path / "d", **alignment, min_aligned_fraction=0.0)
    assert {file: hashed for file, hashed in digests(root).items() if file in before} == before
    rejected = rows(root, "rejections/align")
    assert {row["reason"] for row in rejected} == {"not_aligned"}
    assert len(rejected) + len(rows(root, "alignments")) == len(rows(root, "audio", ["audio_id"]))


def test_a_language_that_nobody_knows_is_counted_not_rejected(spoken, world_document, tmp_path):
    corpus = {"kind": "common_voice", "path": str(spoken / "cv-corpus-test"), "version": "test"}
    fields = {"corpora": [corpus], "recipe": "self_powered"}
    alignment = {"backend": "auto", "min_aligned_fraction": 0.0}
    given = world_document(tmp_path / "d", alignment=alignment, **fields)
    config = resolve(given, where="test")
    for step in ("candidates", "ingest", "index", "align"):
        run_step(config, step, Progress(None))
    manifest = read_manifest(config.output / "manifest/align.json")
    assert manifest is not None
    languages = [row["language"] for row in rows(config.output, "audio", ["language"])]
    assert manifest.counts["not_eligible"] == {"de": languages.count("de")}
    assert languages.count("de") > 0
    done = rows(config.output, "alignments") + rows(config.output, "rejections/align")
    assert len(done) == languages.count("en")


def test_other_steps_do_not_depend_on_word_times(world, world_document, tmp_path):
    """So they can be asked for later, and asked for again from somebody else."""
    plain = resolve(world_document(tmp_path / "d"), where="test")
    build(plain)
    before = digests(tmp_path / "d")
    assert not (tmp_path / "d/alignments").exists()
    files = {"backend": "files", "files": str(world)}
    build(resolve(world_document(tmp_path / "d", alignment=files), where="test"))
    after = digests(tmp_path / "d")
    assert {file: after[file] for file in before} == before
    assert rows(tmp_path / "d", "alignments")


def test_a_run_without_aligner_has_no_such_step(world_document, tmp_path):
    config = resolve(world_document(tmp_path / "d"), where="test")
    with pytest.raises(ConfigError, match="step must be one of"):
        run_step(config, "align", Progress(None))


@pytest.mark.parametrize(
    ("alignment", "error", "says"),
    [
        ({"backend": "files", "files": "nowhere"}, CorpusError, "no such path"),
        ({"backend": "ctc", "ctc_model": "nowhere"}, ModelError, "AutoModelForCTC"),
    ],
)
def test_what_is_missing_is_told_before_any_work(world_document, tmp_path, alignment, error, says):
    config = resolve(world_document(tmp_path / "d", alignment=alignment), where="test")
    with pytest.raises(error, match=says):
        build(config)
    assert not (tmp_path / "d/audio").exists()


def test_a_killed_alignment_goes_on_and_ends_as_one_that_was_not(world_document, tmp_path):
    def given(name: str, **runner: Any) -> dict[str, Any]:
        alignment = {"backend": "pocketsphinx", "min_aligned_fraction": 0.0}
        return world_document(tmp_path / name, alignment=alignment, runner=runner)

    run_yaml = tmp_path / "killed.yaml"
    run_yaml.write_text(yaml.safe_dump(given("killed", kind="processes", workers=2)))
    running = subprocess.Popen(
        [sys.executable, "-m", "sllm_data.cli", "run", run_yaml],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while running.poll() is None and not list((tmp_path / "killed/alignments").glob("part-*")):
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    for name in ("killed", "once"):
        build(resolve(given(name, kind="serial"), where="test"))
    wanted = digests(tmp_path / "once")
    assert {file for file in wanted if file.startswith("alignments/")}
    assert digests(tmp_path / "killed") == wanted
