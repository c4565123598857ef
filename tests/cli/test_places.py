"""Where commands read and write: a path of this disk, or a URL where that is said."""

import pytest
from typer.testing import CliRunner

from sllm_data.cli import app


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", ".", "s3://bucket/x", "--format", "ms-swift"),
        ("benchmark", "build", ".", "gs://bucket/x"),
        ("benchmark", "score", "a.jsonl", "--benchmark", "s3://bucket/x"),
        ("benchmark", "score", "a.jsonl", "--benchmark", ".", "--out", "s3://bucket/x"),
        ("report", ".", "--out", "s3://bucket/page.html"),
        ("render", ".", "--out", "s3://bucket/x"),
        ("evaluate", ".", ".", "--out", "hf://datasets/a/b"),
    ],
    ids=" ".join,
)
def test_a_url_where_a_path_must_stand_is_refused_and_no_folder_is_made_of_it(
    arguments, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 2
    assert "must be a path of this disk, got a" in done.stderr
    assert not any(tmp_path.iterdir())


def test_a_dataset_whose_name_no_disk_can_hold_is_one_sentence():
    done = CliRunner().invoke(app, ["report", "a" * 300], catch_exceptions=False)
    assert done.exit_code == 2
    assert "File name too long" in done.stderr
