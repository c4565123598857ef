"""The study of the anchor bias: its figures, and all of it as a command."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from sllm_data.errors import TrainingError
from sllm_data.experiments.anchor_bias import CORE, FIGURES, figures_of, over_seeds
from sllm_data.experiments.arms import Arm, Outcome, Scale, run_arms, train_document
from sllm_data.experiments.study import Study, as_text, write_study
from sllm_data.trainer.config import resolve_train

SCALE = Scale(steps=8, budget=256, rows=1)


def cell(task, side, group, value, *, params=None):
    return {
        "task": task,
        "side": side,
        "eval_group": group,
        "task_params": params,
        "scores": {"exact_match": {"value": value}},
    }


def outcome(seed, speech, tmp_path):
    figures = {
        "groups": [
            {"side": "speech", "eval_group": "train", "anchor": {"value": 0.75}},
            {"side": "text", "eval_group": "train", "anchor": {"value": 0.5}},
            {"side": "speech", "eval_group": "held_out_task", "anchor": {"value": 0.25}},
        ],
        "cells": [
            cell("transcription", "speech", "train", 0.9),
            cell("keywords", "speech", "train", speech),
            cell("topic", "speech", "train", speech + 0.2),
            cell("topic", "speech", "train", 0.0, params='{"a": 1}'),
            cell("topic", "text", "train", 1.0),
            cell("who", "speech", "held_out_task", None),
        ],
    }
    return Outcome(arm=CORE[0], seed=seed, folder=tmp_path, figures=figures, report={})


def test_figures_are_means_over_tasks_of_a_side_and_group(tmp_path):
    found = figures_of(outcome(1, 0.4, tmp_path))
    assert set(found) == set(FIGURES)
    assert found["anchor_speech"] == 0.75
    assert found["anchor_text"] == 0.5
    assert found["transcription"] == 0.9
    assert found["exact_speech"] == pytest.approx(0.5)
    assert found["exact_text"] == 1.0
    assert found["held_out_task"] is None
    assert found["held_out_instruction"] is None


def test_several_seeds_give_a_mean_and_a_spread(tmp_path):
    found = over_seeds([outcome(1, 0.4, tmp_path), outcome(2, 0.6, tmp_path)])
    exact = found["transcripts-full"]["exact_speech"]
    assert (exact.value, exact.low, exact.high) == pytest.approx((0.6, 0.5, 0.7))
    assert found["transcripts-full"]["held_out_task"].value is None


def test_the_page_shows_figures_and_configurations_and_escapes_them(tmp_path):
    folder = tmp_path / "arms" / "a-seed1"
    (folder / "evaluation-test-1").mkdir(parents=True)
    (folder / "evaluation-test-1/index.html").touch()
    folder.with_suffix(".yaml").write_text("seed: <b>1</b>\n")
    one = replace(outcome(1, 0.4, tmp_path), folder=folder, report={"loss": 0.5})
    study = Study(
        name="anchor-bias",
        outcomes=[one],
        figures=over_seeds([one]),
        scale=SCALE,
        hours=1.0,
        seconds=2.0,
    )
    write_study(study, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "seed: &lt;b&gt;1&lt;/b&gt;" in page
    assert 'href="arms/a-seed1/evaluation-test-1/index.html"' in page
    assert page.count("data:image/png;base64,") == 1
    assert json.loads((tmp_path / "study.json").read_text())["trainings"][0]["seed"] == 1
    assert "0.750" in as_text(study)


@pytest.mark.parametrize("arm", CORE, ids=lambda arm: arm.name)
def test_arms_are_configurations_that_train_takes(arm, tmp_path):
    document = train_document(arm, 1, tmp_path / "dataset", tmp_path / "out", SCALE)
    config = resolve_train(document, where="test")
    assert config.data.datasets[0].tasks == arm.tasks
    assert config.stages[0].learning_rates.llm == arm.llm_rate


def test_an_arm_that_fails_is_named_with_what_it_said(tmp_path):
    arm = Arm(name="none", means="none", llm={"mode": "frozen"})
    with pytest.raises(TrainingError, match=r"sllm-data train .*none-seed1\.yaml must end well"):
        run_arms(
            [arm, arm],
            tmp_path / "no-dataset",
            tmp_path / "arms",
            SCALE,
            seeds=[1],
            jobs=1,
            say=lambda _: None,
        )


@pytest.mark.engine
@pytest.mark.timeout(1_800)
def test_the_command_makes_a_page_of_a_study_and_goes_on_with_it(tmp_path):
    def run():
        return subprocess.run(
            [
                *(sys.executable, "-m", "sllm_data.cli", "experiment", "anchor-bias"),
                *(str(tmp_path / "study"), "--hours", "0.03", "--steps", "4"),
                *("--rows", "1", "--budget", "256"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    first = run()
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("self-powered-lora") == 1
    study = json.loads((tmp_path / "study/study.json").read_text())
    assert set(study["figures"]) == {arm.name for arm in CORE}
    assert study["trainings"][0]["report"]["steps"] == 4
    page = (tmp_path / "study/index.html").read_text()
    assert page.count("<h3>") == len(CORE)

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("weights*")}
    again = run()
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert made == {path: path.stat().st_mtime_ns for path in made}
