"""Flows beside the build: validation, training, publishing, dead runs, on a temporary server."""

import json
import uuid
from pathlib import Path

import pytest
import yaml
from prefect.artifacts import Artifact

from flows import build_corpus, demo, find_dead_runs, publish, train, validate
from flows.lease import NAME, held, read_lease
from sllm_data.config import load_config
from sllm_data.errors import OutputError, RejectedError
from sllm_data.steps import Progress, run_all
from sllm_data.testbed import write_librispeech

pytestmark = [
    pytest.mark.prefect,
    # Prefect's own server code warns on this Python; none of it is ours
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flows")
    write_librispeech(folder / "LibriSpeech", subsets={"train-clean-a": 4}, num_speakers=2, seed=4)
    run = {
        "seed": 1,
        "output": str(folder / "out/dataset"),
        "corpora": [{"kind": "librispeech", "path": str(folder / "LibriSpeech")}],
        "backbone": {"engine": "scripted"},
        "filters": {"wrong_language": False, "copied": False},
        "runner": {"kind": "serial"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    for _ in run_all(load_config(folder / "run.yaml"), Progress(None)):
        pass
    return folder / "out/dataset"


def test_a_good_dataset_passes_and_its_report_is_an_artifact(server, dataset):
    assert validate.main([str(dataset), "--level", "3"]) == 0
    assert "dataset" in Artifact.get(key="validation").data


def test_errors_of_a_dataset_fail_the_run(server, dataset):
    manifest = dataset / "manifest/index.json"
    content = manifest.read_text()
    manifest.unlink()
    with pytest.raises(RejectedError, match="level 0 finds"):
        validate.validate_dataset(dataset, 0)
    assert validate.main([str(dataset), "--level", "0"]) == 1
    manifest.write_text(content)


def test_no_dataset_is_one_sentence(server, tmp_path, capsys):
    assert validate.main([str(tmp_path / "nowhere")]) == 2
    assert "error:" in capsys.readouterr().err
    assert validate.main([]) == 2


def test_a_dataset_is_published_and_the_second_time_nothing_is_sent(server, dataset, tmp_path):
    target = tmp_path / "public"
    assert publish.main([str(dataset), str(target)]) == 0
    assert (target / "README.md").is_file()
    assert publish.main([str(dataset), str(target)]) == 0
    assert '"files": "sent", "number": 0' in str(Artifact.get(key="published").data)


def test_a_target_inside_the_dataset_is_refused(server, dataset, capsys):
    assert publish.main([str(dataset), str(dataset / "inside")]) == 2
    assert "apart from the dataset" in capsys.readouterr().err
    assert publish.main([]) == 2


def test_a_train_yaml_that_is_not_there_is_one_sentence(server, tmp_path, capsys):
    assert train.main([str(tmp_path / "nope.yaml")]) == 2
    assert "can't be read" in capsys.readouterr().err
    assert train.main([]) == 2


@pytest.mark.parametrize("flow", [build_corpus, demo, find_dead_runs, publish, train, validate])
def test_a_flag_that_a_flow_does_not_know_is_one_sentence(flow, capsys):
    names = ["one", "two"] if flow is publish else ["one"]

    assert flow.main([*names, "--levle", "3"]) == 2
    said = capsys.readouterr().err
    assert "unrecognized arguments: --levle" in said
    assert f"usage: python -m {flow.__name__}" in said
    assert said.count("\n") == 1


def test_a_dead_run_that_the_server_does_not_know_loses_its_lease(server, dataset):
    run_id = str(uuid.uuid4())
    with held(dataset, run_id=run_id, run_name="a night"):
        assert find_dead_runs.find_dead_runs([dataset.parent]) == []
        text = (dataset / NAME).read_text()
    elsewhere = text.replace(read_machine(text), "another machine")
    (dataset / NAME).write_text(elsewhere)

    assert find_dead_runs.find_dead_runs([dataset.parent], 1e-6, look_s=0.1) == [run_id]
    assert read_lease(dataset) is None


def test_dead_runs_are_not_looked_for_where_there_is_no_folder(server, dataset, tmp_path, capsys):
    run_id = str(uuid.uuid4())
    with held(dataset, run_id=run_id, run_name="a night"):
        lease = json.loads((dataset / NAME).read_text())
    lease["holder"]["started"] = 0.0  # of another process, long ago
    (dataset / NAME).write_text(json.dumps(lease))

    with pytest.raises(OutputError, match="nowhere: must be a folder of datasets or trainings"):
        find_dead_runs.find_dead_runs([tmp_path / "nowhere", dataset.parent])
    assert read_lease(dataset) is None  # the other folder was looked at all the same
    with pytest.raises(OutputError, match="s3:/bucket/data: must be a folder"):
        find_dead_runs.find_dead_runs([Path("s3://bucket/data")])
    assert find_dead_runs.main(["s3://bucket/data"]) == 2
    assert "s3://bucket/data: must be a folder of datasets" in capsys.readouterr().err


def test_of_a_url_its_copy_is_looked_at(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SLLM_COPIES", str(tmp_path))
    with held(tmp_path / "s3/bucket/data/d", run_id="1", run_name="a night"):
        assert [str(lease) for _, lease in find_dead_runs.leases_below("s3://bucket/data")]


def read_machine(text: str) -> str:
    found: str = yaml.safe_load(text)["machine"]
    return found
