"""A training that begins with what another one trained."""

import json
import shutil

import pytest
import torch

from sllm_data.chat import ChatRenderer
from sllm_data.errors import ModelError, TrainingError
from sllm_data.steps import Progress
from sllm_data.trainer.config import resolve_train
from sllm_data.trainer.data.loader import open_packs
from sllm_data.trainer.loop import train
from sllm_data.trainer.model.config import LossConfig
from sllm_data.trainer.model.speech_lm import load_speech_lm
from sllm_data.trainer.provenance import facts_of_models
from sllm_data.trainer.trained import begin_with, load_trained

STAGES = [{"steps": 1, "learning_rates": {"connector": 0.002, "llm": 0.001}}]


@pytest.fixture
def without_dropout(document, tmp_path):
    def make(**sections):
        made = document(tmp_path / "next", seed=2, stages=STAGES, **sections)
        made["model"]["llm"]["lora"] = {"rank": 2, "dropout": 0.0}
        return resolve_train(made, where="test")

    return make


@pytest.fixture
def connector_alone(document, configured, tmp_path):
    """The folder of a training that left the LLM as it was."""
    model = document(tmp_path)["model"]
    model["llm"] = {"model": model["llm"]["model"], "mode": "frozen"}
    stages = [{"steps": 1, "learning_rates": {"connector": 0.002}}]
    train(configured(tmp_path / "alone", model=model, stages=stages), Progress(None))
    return tmp_path / "alone"


def _begun(config, folder):
    """Returns a fresh model, and the same begun with what a folder holds."""
    fresh, model = (
        load_speech_lm(config.model, seed=config.seed, dtype=torch.float32, device="cpu")
        for _ in range(2)
    )
    models = facts_of_models(config.model, ChatRenderer.load(config.model.llm.model))["models"]
    begin_with(model, folder, models=models)
    return fresh.trainable_state(), model.trainable_state()


def test_the_first_loss_is_that_of_the_model_which_it_begins_with(straight, without_dropout):
    config = without_dropout(start_from=str(straight))
    train(config, Progress(None))

    model, renderer, _ = load_trained(straight)
    opened = open_packs(config.data, renderer=renderer, geometry=model.geometry, seed=2)
    with opened as packs, torch.no_grad():
        found = model(next(packs), LossConfig())
    (line,) = (config.output / "metrics.jsonl").read_text().splitlines()
    wanted = float(found.total) / found.num_labels
    assert json.loads(line)["loss"] == pytest.approx(wanted, rel=1e-5)
    facts = json.loads((config.output / "model/trained.json").read_text())
    of_first = json.loads((straight / "model/trained.json").read_text())
    assert facts["start_from"] == of_first["weights_sha256"]


def test_what_the_other_did_not_train_is_fresh(configured, tmp_path, connector_alone):
    fresh, begun = _begun(configured(tmp_path / "next"), connector_alone)

    trained = load_trained(connector_alone).model.trainable_state()
    assert {name.partition(".")[0] for name in trained} == {"connector"}
    assert {name.partition(".")[0] for name in begun} == {"connector", "llm"}
    for name, value in begun.items():
        assert torch.equal(value, trained.get(name, fresh[name])), name
    assert any(not torch.equal(value, fresh[name]) for name, value in trained.items())


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        ("llm", {"lora": {"rank": 4, "dropout": 0.1}}, "model.llm.lora.rank: 2 -> 4"),
        ("llm", {"lora": {"rank": 2, "alpha": 8}}, "model.llm.lora.alpha: 32.0 -> 8.0"),
        ("llm", {"mode": "full"}, "model.llm.mode: 'lora' -> 'full'"),
        ("connector", {"heads": 4}, "model.connector.heads: 2 -> 4"),
    ],
)
def test_another_form_of_what_was_trained_is_refused_by_name(
    straight, document, tmp_path, part, change, named
):
    changed = document(tmp_path / "next")
    changed["model"][part] |= change

    with pytest.raises(ModelError, match="must be trained here in the same way") as caught:
        _begun(resolve_train(changed, where="test"), straight)
    assert named in str(caught.value)


def test_it_goes_on_wherever_those_weights_lie_and_with_no_others(
    straight, without_dropout, connector_alone, tmp_path
):
    moved = shutil.copytree(straight / "model", tmp_path / "moved")
    config = without_dropout(start_from=str(straight))
    train(config, Progress(None))

    same = without_dropout(start_from=str(moved))
    assert train(same, Progress(None)).was_done
    for other in (None, str(connector_alone)):
        another = without_dropout(start_from=other)
        with pytest.raises(TrainingError, match=r"other data: start_from: "):
            train(another, Progress(None))


def test_a_folder_without_a_trained_model_is_told(configured, tmp_path):
    config = configured(tmp_path / "next", start_from=str(tmp_path))
    with pytest.raises(ModelError, match="must be what `sllm-data train` wrote"):
        train(config, Progress(None))
