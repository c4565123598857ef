"""A benchmark of real speech: two corpora, three groups, nothing of it in train."""

from pathlib import Path

import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from sllm_data.benchmark import read_benchmark
from sllm_data.cli import app
from sllm_data.documents import Document
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate

pytestmark = pytest.mark.real_speech


@pytest.fixture(scope="module")
def built(real_speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    document: Document = {
        "seed": 1,
        "output": str(folder / "dataset"),
        "recipe": "behaviour_imitation",
        "corpora": [
            {"kind": "librispeech", "path": str(real_speech / "librispeech/LibriSpeech")},
            {
                "kind": "common_voice",
                "path": str(real_speech / "common_voice/cv-corpus-6.1-2020-12-11"),
                "locales": ["en"],
            },
        ],
        "backbone": {"engine": "scripted"},
        "draw": {"multi_task_share": 1.0, "multi_task_count": 6},
        "interleave": {"chance": 0.0},
        "alignment": {"backend": "none"},
        "splits": {"validation": 0.0, "test": 0.4},
        "filters": {"wrong_language": False, "repetition": False, "copied": False},
        "runner": {"kind": "serial"},
        "max_rejected_fraction": 1.0,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    command = ["benchmark", "build", str(folder / "run.yaml"), str(folder / "benchmark")]
    done = CliRunner().invoke(app, [*command, "--per-task", "10", "--at-least", "1"])
    assert done.exit_code == 0, done.output
    return folder


def test_every_group_has_questions_about_both_corpora(built):
    benchmark = read_benchmark(built / "benchmark")
    assert all(sum(tasks.values()) >= 10 for tasks in benchmark.description.cells.values())
    files = {Path(file).suffix for file in benchmark.description.files if file[:6] == "clips/"}
    assert files == {".flac", ".mp3"}
    assert benchmark.description.speakers > 5


def test_its_clips_are_the_corpora_s_own_files(built):
    for clip in (built / "benchmark/clips").iterdir():
        assert soundfile.info(clip).frames > 0


def test_what_was_built_beside_it_trains_without_any_of_it(built):
    report = validate(built / "dataset", Options(level=3, jobs=1, against=(built / "benchmark",)))
    found = {each.rule.name: each.count for each in report.outcomes}
    assert not any(count for name, count in found.items() if name.startswith("against"))
