"""The folder of an export: whole or absent, the same bytes each time, with its card."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml
from made_datasets import make, noise

from sllm_data.errors import ConfigError, OutputError, ShardError
from sllm_data.exporting import FORMATS, Selection, plan_export, read_back, write_export
from sllm_data.files import output_lock, sha256_of_file
from sllm_data.shards import TABLES, read_manifest, write_part
from tests.exporting.shapes import SHAPES, plain_row


def test_a_folder_in_the_dataset_is_no_target(dataset):
    root = dataset()
    plan = plan_export(root, "ms-swift", Selection())
    for output in (root / "out", root / "samples/new/out"):
        with pytest.raises(OutputError, match="must lie outside of the dataset"):
            write_export(plan, output)
        assert not output.exists()


def test_a_task_or_kind_that_no_row_has_does_not_go_unseen_beside_others(dataset):
    root = dataset()
    (row,) = plan_export(root, "ms-swift", Selection()).held()
    with pytest.raises(ConfigError, match="must have rows of the task 'sumary'"):
        plan_export(root, "ms-swift", Selection(tasks=(row.task, "sumary")))
    with pytest.raises(ConfigError, match="must have rows of the kind 'instrct'"):
        plan_export(root, "ms-swift", Selection(kinds=(row.kind, "instrct")))


def test_a_clip_at_no_rate_is_one_sentence(dataset, tmp_path):
    root = dataset()
    (part,) = (root / "audio").iterdir()
    table = pq.read_table(part)
    place = table.schema.get_field_index("sampling_rate")
    zeros = pa.array([0] * len(table), table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), zeros), part)
    with pytest.raises(ShardError, match="must have a rate above 0, got 0"):
        plan_export(root, "nemo", Selection())


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sllm_data.cli", "export", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def digests(folder):
    return {
        str(path.relative_to(folder)): sha256_of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_dataset_gives_the_same_bytes(name, spoken, tmp_path):
    plan = plan_export(spoken, name, Selection(), skip=True)
    found = []
    for folder in ("a/out", "b/out"):
        (tmp_path / folder).parent.mkdir()
        write_export(plan, tmp_path / folder, rows_per_shard=6)
        found.append(digests(tmp_path / folder))
    assert found[0] == found[1]
    assert len(found[0]) > 2


@pytest.mark.parametrize("what", ["a file", "a folder with something in it"])
def test_a_target_that_is_there_is_refused_and_stays(what, dataset, tmp_path):
    output = tmp_path / "there"
    if what == "a file":
        output.write_text("mine")
    else:
        output.mkdir()
        (output / "notes").write_text("mine")
    plan = plan_export(dataset(), "nemo", Selection())
    with pytest.raises(OutputError, match="there: must not exist or be an empty folder, "):
        write_export(plan, output)
    assert (output if what == "a file" else output / "notes").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_is_taken(dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    write_export(plan_export(dataset(), "nemo", Selection()), tmp_path / "empty")
    assert read_back(tmp_path / "empty").rows == 1


def test_what_a_killed_export_left_is_cleared_away(dataset, tmp_path):
    left = tmp_path / ".out.tmp/whole"
    (left / "audio").mkdir(parents=True)
    (left / "audio/half.flac").write_bytes(b"fLaC")
    (left / "train.jsonl").write_text("{")
    write_export(plan_export(dataset(), "nemo", Selection()), tmp_path / "out")
    assert not left.parent.exists()
    assert [path.name for path in (tmp_path / "out").rglob("*.flac")] == ["a.flac"]


def test_a_second_export_to_one_folder_is_refused(dataset, tmp_path):
    plan = plan_export(dataset(), "nemo", Selection())
    with output_lock(tmp_path / ".out.tmp"), pytest.raises(OutputError, match="another run is"):
        write_export(plan, tmp_path / "out")


def test_an_export_that_fails_leaves_nothing(dataset, tmp_path):
    root = dataset()
    plan = plan_export(root, "ms-swift", Selection())
    (root / "audio/part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShardError):
        write_export(plan, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]


def test_a_clip_that_is_no_audio_is_an_error_where_it_must_be_cut(dataset, tmp_path):
    root = dataset(change=SHAPES["one stretch"])
    table = root / "audio/part-00000.parquet"
    rows = pq.read_table(table).to_pylist()
    rows[0]["audio"]["bytes"] = b"no audio at all"
    write_part(root, "audio/part-00000.parquet", rows, table=TABLES["audio"], identity="test")
    plan = plan_export(root, "ms-swift", Selection())
    with pytest.raises(ShardError, match="made/1/x/a must be audio: libsndfile says"):
        write_export(plan, tmp_path / "out")


def test_a_stretch_with_too_many_channels_for_flac_is_an_error(tmp_path):
    made = make(parts=1, rows=1)
    content = io.BytesIO()
    soundfile.write(content, noise(16_000, channels=9), 16_000, format="WAV")
    changed = {"codec": "wavex/pcm_16", "num_channels": 9, "num_samples": 16_000}
    made.audio[0][0] |= changed | {"sampling_rate": 16_000}
    made.audio[0][0]["audio"]["bytes"] = content.getvalue()
    made.samples[0][0]["messages"][0]["content"][1] |= {"start_sample": 5, "num_samples": 50}
    plan = plan_export(made.write(tmp_path / "made"), "ms-swift", Selection())
    with pytest.raises(ShardError, match="9 channels at 16000 Hz do not"):
        write_export(plan, tmp_path / "out")


def test_a_dataset_that_changes_while_it_is_exported_is_noticed(dataset, tmp_path):
    root = dataset(plain_row("s0"), plain_row("s1"))
    plan = plan_export(root, "nemo", Selection())
    name = "samples/part-00000.parquet"
    rows = pq.read_table(root / name).to_pylist()[:1]
    write_part(root, name, rows, table=TABLES["samples"], identity="test")
    with pytest.raises(
        ShardError, match="must have 2 rows with 2 stretches of speech, has 1 with"
    ):
        write_export(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_is_killed_has_no_folder_and_the_next_is_whole(tmp_path):
    root = make(parts=12, rows=30).write(tmp_path / "made")
    arguments = [sys.executable, "-m", "sllm_data.cli", "export", str(root)]
    arguments += [str(tmp_path / "out"), "--format", "webdataset"]
    running = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    temporary = tmp_path / ".out.tmp"
    while running.poll() is None and not list(temporary.glob("whole/*.tar")):
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert temporary.exists()
    assert not (tmp_path / "out").exists()
    done = command(root, tmp_path / "out", "--format", "webdataset")
    assert done.returncode == 0, done.stderr
    assert read_back(tmp_path / "out").rows == 360
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "out"]


@pytest.mark.parametrize("name", FORMATS)
def test_the_card_says_what_it_is_and_whose(name, spoken, spoken_rows, export):
    folder = export(spoken, name)
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    manifest = read_manifest(spoken / "manifest/assemble.json")
    assert "sllm-data" in yaml.safe_load(front)["tags"]
    assert manifest.digest() in body
    assert FORMATS[name].reader in body
    assert "`testbed`" in body
    assert "| librispeech | demo | CC0-1.0 | the world \\| its voices |" in body
    assert "{folder}" not in body
    assert "{stem}" not in body
    summary = json.loads((folder / "export.json").read_text())
    assert summary["dataset_digest"] == manifest.digest()
    left = sum(each["rows"] for each in summary["left_out"].values())
    assert summary["rows"] + left == len(spoken_rows)
    assert ("## Left out" in body) == bool(left)


def test_the_command_says_what_it_wrote_and_what_it_left_out(dataset, tmp_path):
    rows = [plain_row("s0"), plain_row("s1")]
    SHAPES["text only"](rows[1])
    root = dataset(*rows)
    refused = command(root, tmp_path / "out", "--format", "desta")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: desta can't hold no speech: 1 of 2 rows")
    assert not (tmp_path / "out").exists()
    skipped = ["--format", "desta", "--on-unsupported", "skip"]
    done = command(root, tmp_path / "out", *skipped)
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.startswith("1 rows, 1 stretches of speech, ")
    assert second == "left out, no speech: 1 rows, the first is s1"
    assert last == f"export: {tmp_path}/out"
    told = json.loads(command(root, tmp_path / "again", *skipped, "--json").stdout)
    assert told["left_out"] == {"no speech": {"rows": 1, "first": "s1"}}
    assert (told["rows"], told["checked"]) == (1, True)


def test_the_command_takes_tasks_kinds_a_split_and_a_number(dataset, tmp_path):
    rows = [plain_row(f"s{number}") for number in range(6)]
    for row in rows[:4]:
        row["split"] = "test"
    rows[1]["task"] = "summary"
    root = dataset(*rows)
    options = ["--split", "test", "--task", "transcription", "--kind", "instruct", "--limit", "2"]
    done = command(root, tmp_path / "out", "--format", "nemo", *options, "--no-check", "--json")
    assert json.loads(done.stdout)["checked"] is False
    lines = (tmp_path / "out/test.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["s0", "s2"]


def test_memory_does_not_grow_with_rows(tmp_path):
    """Rows come in streams: ten times as many take hardly more memory."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from sllm_data.exporting import *\n"
        "plan = plan_export(Path(sys.argv[1]), sys.argv[3], Selection())\n"
        "write_export(plan, Path(sys.argv[2]), rows_per_shard=100)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    small = make(parts=2, rows=60).write(tmp_path / "small")
    large = make(parts=20, rows=60).write(tmp_path / "large")
    for name in ("huggingface", "lhotse-shar", "nemo"):
        peaks = [
            int(
                subprocess.run(
                    [sys.executable, "-c", code, str(root), str(tmp_path / f"{name}-{k}"), name],
                    capture_output=True,
                    text=True,
                    check=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                ).stdout
            )
            for k, root in enumerate((small, large))
        ]
        size = sum(path.stat().st_size for path in (large / "audio").iterdir()) // 1024
        assert peaks[1] - peaks[0] < 0.4 * size, (name, peaks, size)
