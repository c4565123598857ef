"""What may change between two runs on one folder, what may not, and what is found out in time."""

import shutil

import pytest
from steps_datasets import build, digests, rows

from sllm_data.errors import ModelError, OutputError, PoolError
from sllm_data.files import shipped_folder
from sllm_data.steps import Progress, run_step


@pytest.fixture
def pools(tmp_path):
    """A folder with a pool of one's own that can be edited."""
    folder = tmp_path / "pools"
    folder.mkdir()
    shutil.copy(shipped_folder("instruction_pools") / "intent.en.yaml", folder)
    return folder


def _edit(pools):
    path = pools / "intent.en.yaml"
    path.write_text(path.read_text().replace("this text", "this passage"))


def test_an_edited_wording_is_refused_before_twins_can_differ(tmp_path, configured, pools):
    config = configured(tmp_path / "d", prompts={"pools": [str(pools)]})
    for name in ("candidates", "ingest", "index", "plan.main", "generate.main"):
        run_step(config, name, Progress(None))
    _edit(pools)

    with pytest.raises(OutputError, match=r"plan\.main was made with other wordings"):
        run_step(config, "assemble", Progress(None))
    with pytest.raises(OutputError, match=r"plan\.main was made with other wordings"):
        build(config)


def test_an_edited_wording_leaves_a_finished_dataset_as_it_is(tmp_path, configured, pools):
    config = configured(tmp_path / "d", prompts={"pools": [str(pools)]})
    build(config)
    before = digests(tmp_path / "d")
    _edit(pools)

    with pytest.raises(OutputError, match="put the old files back"):
        build(config)
    assert digests(tmp_path / "d") == before


def test_wordings_of_a_task_that_is_not_asked_for_may_change(tmp_path, configured, pools):
    fields = {"prompts": {"pools": [str(pools)]}, "tasks": {"intent": {"weight": 0}}}
    config = configured(tmp_path / "d", **fields)
    build(config)
    _edit(pools)

    assert all(report.was_done for report in build(config))


def test_a_wording_that_is_edited_before_it_is_read_is_read_anew(tmp_path, configured, pools):
    config = configured(tmp_path / "d", prompts={"pools": [str(pools)]})
    build(config)  # this process has read it now
    shutil.rmtree(tmp_path / "d")
    for name in ("candidates", "ingest", "index"):
        run_step(config, name, Progress(None))
    _edit(pools)
    run_step(config, "plan.main", Progress(None))

    asked = [row for row in rows(tmp_path / "d", "requests/main") if row["task"] == "intent"]
    assert asked
    assert any("this passage" in row["messages"][0]["content"] for row in asked)
    assert not any("this text" in row["messages"][0]["content"] for row in asked)


def test_pools_may_move(tmp_path, configured, pools):
    build(configured(tmp_path / "d", prompts={"pools": [str(pools)]}))
    moved = pools.rename(tmp_path / "elsewhere")
    reports = build(configured(tmp_path / "d", prompts={"pools": [str(moved)]}))

    assert all(report.was_done for report in reports)


def test_filters_may_change_until_samples_are_made(tmp_path, configured):
    strict = {"wrong_language": False, "copied": False, "truncated": "drop"}
    for name in ("candidates", "ingest", "index", "plan.main", "generate.main"):
        run_step(configured(tmp_path / "d"), name, Progress(None))
    build(configured(tmp_path / "d", filters=strict))

    assert rows(tmp_path / "d", "samples")
    with pytest.raises(OutputError, match=r"filters\.truncated: 'drop' -> 'mark'"):
        build(configured(tmp_path / "d"))


def test_a_first_run_that_failed_does_not_bind_the_folder(tmp_path, configured):
    wrong = {"engine": "scripted", "tokenizer": str(tmp_path / "nothing")}
    with pytest.raises(ModelError, match="there is no such model folder"):
        build(configured(tmp_path / "d", backbone=wrong))
    build(configured(tmp_path / "d", seed=7))

    assert rows(tmp_path / "d", "samples")


def test_a_missing_pool_is_told_before_any_audio_is_read(tmp_path, configured):
    prompts = {"instruction_languages": {"fr": 1.0}}
    with pytest.raises(PoolError, match="in language fr"):
        build(configured(tmp_path / "d", prompts=prompts))

    assert not list((tmp_path / "d").glob("audio/*"))


def test_a_model_that_changed_after_planning_is_refused(tmp_path, configured, tiny_backbone):
    model = tmp_path / "model"
    shutil.copytree(tiny_backbone, model)
    config = configured(tmp_path / "d", backbone={"engine": "scripted", "tokenizer": str(model)})
    for name in ("candidates", "ingest", "index", "plan.main"):
        run_step(config, name, Progress(None))
    weights = next(model.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")

    with pytest.raises(ModelError, match=r"must be the model that plan\.main was made for"):
        run_step(config, "generate.main", Progress(None))


def test_no_engine_is_started_where_nothing_is_asked(tmp_path, configured):
    build(configured(tmp_path / "old"))
    config = configured(tmp_path / "new", reuse=[str(tmp_path / "old")])
    build(config)

    # an engine that was started leaves a report of what it did
    assert (tmp_path / "old/reports/generate.main.json").exists()
    assert not (tmp_path / "new/reports/generate.main.json").exists()


def test_an_input_made_anew_is_not_mixed_with_old_samples(tmp_path, configured):
    config = configured(tmp_path / "d")
    build(config)
    shutil.rmtree(tmp_path / "d/responses")
    shutil.rmtree(tmp_path / "d/rejections/generate.main")
    (tmp_path / "d/manifest/generate.main.json").unlink()
    other = config.model_copy(update={"max_rejected_fraction": 0.9})
    reports = build(other)

    # the scripted engine answers the same again, so the samples stand
    assert [r.step for r in reports if not r.was_done] == ["generate.main"]


def test_a_first_listing_is_not_said_to_be_done(tmp_path, configured):
    report = run_step(configured(tmp_path / "d"), "candidates", Progress(None))

    assert not report.was_done
