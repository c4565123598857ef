"""train.yaml: what it can't mean is refused with a sentence; what decides about the weights."""

from pathlib import Path

import pytest
import yaml

from sllm_data.errors import ConfigError
from sllm_data.storage.places import local_copy
from sllm_data.trainer.config import (
    identity_of_training,
    load_train_config,
    resolve_train,
    train_schema,
)


@pytest.fixture
def smallest(tmp_path):
    return {
        "output": str(tmp_path / "out"),
        "seed": 1,
        "data": {"datasets": [{"path": "out/dataset"}]},
        "model": {"encoder": {"model": "whisper"}, "llm": {"model": "Qwen/Qwen2.5-7B-Instruct"}},
        "stages": [{"steps": 10}],
    }


@pytest.fixture
def train_yaml(smallest, tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(smallest))
    return path


def test_set_wins_over_the_file(train_yaml):
    config = load_train_config(train_yaml, ["stages.0.steps=20", "data.budget=512"])

    assert config.num_steps == 20
    assert config.data.budget == 512


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("sede=2", "sede is not a known key; did you mean 'seed'?"),
        ("data.bugdet=2", "data.bugdet is not a known key; did you mean 'budget'?"),
        ("stages.0.steps=0", "stages.0.steps: must be greater than or equal to 1, got 0"),
        ("stages=[]", "stages: "),
        ("stages.0.warmup_steps=10", "warmup_steps must be fewer than steps, got 10 of 10"),
        ("optimizer.betas=[0.9, 1]", "betas must be in [0, 1), got [0.9, 1.0]"),
        ("device=tpu", "device: must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
        (
            "stages.0.learning_rates={encoder: 0.1}",
            (
                "stages.0.learning_rates.encoder must be 0 or left out while model.encoder.mode "
                "is frozen, got 0.1"
            ),
        ),
        (
            "model.encoder.mode=lora",
            (
                "model.encoder.mode must be frozen where no stage trains it, got lora and "
                "learning_rates.encoder of 0"
            ),
        ),
        (
            "stages.0.learning_rates={llm: 0}",
            "model.llm.mode must be frozen where no stage trains it, got lora",
        ),
        (
            "stages.0.learning_rates={connector: 0, llm: 0}",
            "one learning rate of a stage must be above 0, all are 0",
        ),
    ],
)
def test_what_it_can_not_mean_is_one_sentence(train_yaml, override, sentence):
    with pytest.raises(ConfigError) as caught:
        load_train_config(train_yaml, [override])
    assert str(caught.value).startswith(f"{train_yaml}: ")
    assert sentence in str(caught.value)


def test_a_stage_that_trains_only_what_is_frozen_is_refused(smallest):
    smallest["model"]["llm"]["mode"] = "frozen"
    smallest["stages"] = [{"steps": 1, "learning_rates": {"connector": 0}}]

    with pytest.raises(ConfigError, match=r"stages\.0 must train something"):
        resolve_train(smallest, where="test")


def test_a_teacher_that_would_be_trained_with_what_it_teaches_is_refused(smallest):
    smallest["model"]["llm"]["mode"] = "full"
    smallest["losses"] = {"cross_entropy": {"weight": 0}, "response_kl": {"weight": 1}}

    with pytest.raises(ConfigError, match=r"model\.llm\.keep_original must be true where"):
        resolve_train(smallest, where="test")

    smallest["model"]["llm"]["keep_original"] = True
    assert resolve_train(smallest, where="test").losses.response_kl.weight == 1


@pytest.mark.parametrize(
    "override",
    [
        "output=elsewhere",
        "device=cpu",
        "data.workers=7",
        "data.prefetch=9",
        "data.datasets.0.path=/moved/dataset",
        "model.encoder.model=/moved/whisper",
        "checkpoints={every_steps: 1, keep: 9}",
        "validation={every_steps: 3, datasets: [{path: /other/dataset}]}",
        "logging={boards: []}",
    ],
)
def test_where_and_how_fast_decide_nothing_about_the_weights(train_yaml, override):
    before = identity_of_training(load_train_config(train_yaml))
    assert identity_of_training(load_train_config(train_yaml, [override])) == before


def test_what_is_read_is_what_is_trained_on_and_what_is_asked_between(smallest):
    own, other = {"path": "out/dataset"}, {"path": "s3://bucket/other"}
    smallest["validation"] = {"datasets": [own, other]}
    assert resolve_train(smallest, where="test").places == (Path("out/dataset"),)

    smallest["validation"]["every_steps"] = 5
    places = resolve_train(smallest, where="test").places
    assert places == (Path("out/dataset"), local_copy("s3://bucket/other"))


@pytest.mark.parametrize(
    "override", ["seed=2", "data.budget=100", "precision=bf16", "losses.response_kl.weight=1"]
)
def test_what_else_there_is_decides_about_the_weights(train_yaml, override):
    before = identity_of_training(load_train_config(train_yaml))
    assert identity_of_training(load_train_config(train_yaml, [override])) != before


def test_every_field_says_what_it_is():
    for definition in [train_schema(), *train_schema()["$defs"].values()]:
        for name, field in definition.get("properties", {}).items():
            assert field.get("description"), name
