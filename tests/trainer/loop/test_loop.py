"""What a training tells, leaves, and refuses."""

import json
import os
import shutil
from typing import Any

import pytest
import torch

from sllm_data.chat import ChatRenderer
from sllm_data.errors import ModelError, SllmDataError, TrainingError
from sllm_data.steps import Progress
from sllm_data.testbed.assets import shipped
from sllm_data.trainer.config import resolve_train
from sllm_data.trainer.data.loader import open_packs
from sllm_data.trainer.distributed import chosen_device
from sllm_data.trainer.flops import cost_of
from sllm_data.trainer.loop import train
from sllm_data.trainer.model.speech_lm import load_speech_lm
from sllm_data.trainer.report import Skips, together
from sllm_data.trainer.step import Stepper
from sllm_data.trainer.trained import load_trained


def _lines(output) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_each_step_has_its_figures(straight):
    lines = _lines(straight)

    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert [line["stage"] for line in lines] == [0, 0, 1, 1, 1, 1, 1]
    for line in lines:
        assert line["loss"] == line["parts"]["cross_entropy"] > 0
        assert line["useful_share"] == line["positions"] / 96
        assert 0 < line["labels"] < line["positions"]
        assert line["tokens_per_second"] == pytest.approx(line["positions"] / line["seconds"])
        assert line["audio_hours_per_hour"] == pytest.approx(
            line["audio_seconds"] / line["seconds"]
        )
        assert line["mfu"] is None


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_the_llm_rests_to_the_bit_where_its_learning_rate_is_0_and_moves_in_the_next_stage(
    document, configured, tmp_path, mode
):
    model = document(tmp_path)["model"]
    model["llm"]["mode"] = mode
    stages = [
        {"steps": 2, "learning_rates": {"connector": 0.002, "llm": 0}},
        {"steps": 1, "learning_rates": {"connector": 0.002, "llm": 0.001}},
    ]
    optimizer = {"weight_decay": 0.1}  # it would move what has no gradient
    config = configured(tmp_path / "out", model=model, stages=stages, optimizer=optimizer)
    train(config, Progress(None))

    def state(step: int) -> dict[str, torch.Tensor]:
        path = config.output / f"checkpoints/step-{step:08}/rank-00000.pt"
        return torch.load(path, weights_only=True)["parameters"]

    fresh = load_speech_lm(config.model, seed=1, dtype=torch.float32, device="cpu")
    begun, first, last = fresh.trainable_state(), state(2), state(3)
    of_llm = {name for name in begun if name.startswith("llm.")}
    assert of_llm
    assert _moved(begun, first) == begun.keys() - of_llm
    assert _moved(first, last) == begun.keys()


def _moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_what_is_logged_is_sane_and_stands_on_the_board(configured, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    peak = 1e9
    logging = {"boards": ["tensorboard"], "peak_tflops": peak / 1e12}
    stages = [{"steps": 2, "learning_rates": {"connector": 0.001, "llm": 0.001}}]
    config = configured(tmp_path / "out", stages=stages, logging=logging)

    report = train(config, Progress(None))

    model = load_speech_lm(config.model, seed=1, dtype=torch.float32, device="cpu")
    cost = cost_of(model, {"connector": 0.001, "llm": 0.001, "encoder": 0})
    renderer = ChatRenderer.load(config.model.llm.model)
    lines = _lines(config.output)
    weights = sum(value.numel() * value.element_size() for value in model.parameters())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    opened = open_packs(config.data, renderer=renderer, geometry=model.geometry, seed=1)
    with opened as packs:
        for line, pack in zip(lines, packs, strict=False):
            assert 0 < line["loader_wait_share"] < 1
            assert weights / 2**30 < line["peak_memory_gib"] < memory / 2**30
            assert line["mfu"] == pytest.approx(cost.flops(pack) / line["seconds"] / peak)
    board = EventAccumulator(str(config.output / "tensorboard")).Reload()
    for name in ("loss", "loader_wait_share", "peak_memory_gib", "mfu", "useful_share"):
        drawn = [event.value for event in board.Scalars(name)]
        assert drawn == pytest.approx([line[name] for line in lines]), name
    waited = sum(line["loader_wait_share"] * line["seconds"] for line in lines)
    assert report.loader_wait_share == pytest.approx(
        waited / sum(line["seconds"] for line in lines)
    )
    assert report.useful_share == pytest.approx(sum(line["useful_share"] for line in lines) / 2)


def test_what_is_left_loads_and_is_what_was_trained(straight):
    model, renderer, config = load_trained(straight)
    state = torch.load(straight / "checkpoints/step-00000007/rank-00000.pt", weights_only=True)[
        "parameters"
    ]

    assert renderer.stop_ids
    assert config.connector.hidden_size == 32
    assert not model.training
    for name, value in model.trainable_state().items():
        assert torch.equal(value, state[name]), name


def test_what_is_left_says_what_it_was_trained_on(straight, world):
    document = json.loads((straight / "model/trained.json").read_text())

    (digest,) = document["datasets"].values()
    assert len(digest) == 64
    assert document["step"] == 7
    assert document["models"]["llm"].startswith("local-")
    assert document["configuration"]["stages"][0]["steps"] == 2


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "weights.safetensors").unlink(), "can't be read"),
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"x"), "is cut or was"),
        (lambda folder: (folder / "trained.json").unlink(), "must be what `sllm-data train`"),
        (lambda folder: (folder / "trained.json").write_text("{"), "must be JSON"),
        (lambda folder: (folder / "trained.json").write_text("{}"), "must be of format 1"),
        (lambda folder: _edit(folder, "models", {"llm": "other"}), "models.llm: 'other' -> "),
        (lambda folder: _edit(folder, "model", {}), "model.encoder must be given"),
    ],
)
def test_a_model_that_is_not_whole_is_refused(copied, damage, sentence):
    damage(copied / "model")

    with pytest.raises(ModelError, match=sentence):
        load_trained(copied)


def _edit(folder, name: str, value: object) -> None:
    path = folder / "trained.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))


def test_the_weights_of_another_model_are_refused(copied):
    path = copied / "model/trained.json"
    document = json.loads(path.read_text())
    document["model"]["connector"]["hidden_size"] = 16
    path.write_text(json.dumps(document))

    with pytest.raises(ModelError, match="the checkpoint must be of a model of the same size"):
        load_trained(copied)


def test_a_loss_that_is_no_number_stops_with_its_batch_saved(configured, tmp_path):
    stages = [{"steps": 5, "learning_rates": {"connector": 1e30, "llm": 0.001}}]
    config = configured(tmp_path / "out", stages=stages)

    with pytest.raises(TrainingError, match=r"step \d: the (loss|norm)") as caught:
        train(config, Progress(None))

    (path,) = (tmp_path / "out/failures").iterdir()
    assert str(path) in str(caught.value)
    batch = torch.load(path, weights_only=True)
    assert batch["sample_ids"][0] in str(caught.value)
    assert len(batch["text"]["token_ids"]) <= 96


def _without_dropout(document, output, **sections):
    plain = document(output, stages=[{"steps": 3}], **sections)
    llm = {**plain["model"]["llm"], "lora": {"rank": 2, "dropout": 0.0}}
    return resolve_train(plain | {"model": {**plain["model"], "llm": llm}}, where="test")


def test_a_step_that_finds_no_memory_is_computed_in_halves(document, tmp_path, monkeypatch):
    train(_without_dropout(document, tmp_path / "large"), Progress(None))
    gradients, asked, said = Stepper.gradients, [], []

    def short_of_memory(self, packs, *, step):
        asked.append((step, len(packs)))
        if asked.count((2, 1)) == 1 and asked[-1] == (2, 1):
            raise torch.cuda.OutOfMemoryError
        return gradients(self, packs, step=step)

    monkeypatch.setattr(Stepper, "gradients", short_of_memory)
    train(_without_dropout(document, tmp_path / "small"), Progress(None), say=said.append)

    assert [step for step, _ in asked] == [1, 2, 2, 3]
    assert max(number for _, number in asked) == 2
    assert [sentence.partition(":")[0] for sentence in said] == ["step 2"]
    assert (tmp_path / "small/halved").exists()
    for line, other in zip(_lines(tmp_path / "large"), _lines(tmp_path / "small"), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert line["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "sentence"), [("gradients", "step 1: halves of packs of 96"), ("update", "two means")]
)
def test_memory_that_is_not_enough_at_all_is_a_sentence(
    configured, tmp_path, monkeypatch, name, sentence
):
    def out_of_memory(*_, **__):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(Stepper, name, out_of_memory)
    with pytest.raises(TrainingError, match=sentence):
        train(configured(tmp_path / "out"), Progress(None))


def test_the_loss_on_other_rows_is_told(configured, tmp_path):
    validation = {"every_steps": 2, "split": "test", "packs": 1}
    stages = [{"steps": 3, "learning_rates": {"connector": 0.01, "llm": 0.001}}]
    config = configured(tmp_path / "out", validation=validation, stages=stages)

    report = train(config, Progress(None))

    seen = [line["validation_loss"] for line in _lines(tmp_path / "out")]
    assert seen[0] is None
    assert seen[1] != seen[2]
    assert min(seen[1:]) > 0
    assert report.validation_loss == seen[2]


def test_the_loss_on_rows_of_another_dataset_is_told(configured, tmp_path, world):
    def losses(name: str, *datasets: dict[str, Any]) -> list[tuple[float, float]]:
        validation = {"every_steps": 1, "packs": 1, "datasets": list(datasets)}
        stages = [{"steps": 2, "learning_rates": {"connector": 0.01, "llm": 0.001}}]
        config = configured(
            tmp_path / name, validation={**validation, "split": "test"}, stages=stages
        )
        train(config, Progress(None))
        return [(line["loss"], line["validation_loss"]) for line in _lines(tmp_path / name)]

    own, same = losses("own"), losses("same", {"path": str(world)})
    other = losses(
        "other", {"path": str(world), "kinds": ["instruct"], "eval_group": "held_out_task"}
    )

    assert own == same
    assert [trained for trained, _ in own] == [trained for trained, _ in other]
    assert all(mine != others for (_, mine), (_, others) in zip(own, other, strict=True))


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"validation": {"every_steps": 1}}, "validation: .* or set validation.every_steps to 0"),
        ({"logging": {"boards": ["wandb"]}}, "must not name wandb where it is not installed"),
        ({"budget": {"automatic": True}}, "budget.memory_gib must be given"),
        ({"budget": {"automatic": True, "memory_gib": 0.01}}, "a pack of 64 positions must fit"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(configured, tmp_path, sections, sentence):
    with pytest.raises(SllmDataError, match=sentence):
        train(configured(tmp_path / "out", **sections), Progress(None))


def test_a_measured_budget_is_kept_to(configured, tmp_path, world):
    said = []
    stages = [{"steps": 2, "learning_rates": {"connector": 0.001, "llm": 0.001}}]
    data = {"datasets": [{"path": str(world)}], "budget": 128, "workers": 0}
    budget = {"automatic": True, "memory_gib": 64}
    config = configured(tmp_path / "out", stages=stages, data=data, budget=budget)

    report = train(config, Progress(None), say=said.append)

    assert report.budget == 128
    assert said == ["budget: packs of 128 positions fit into memory"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(TrainingError, match="cuda was asked for, and torch finds no GPU"):
        chosen_device("cuda")


def test_rows_that_can_not_be_trained_on_are_counted_and_named(configured, tmp_path, world):
    stages = [{"steps": 6, "learning_rates": {"connector": 0.001, "llm": 0.001}}]
    data = {"datasets": [{"path": str(world)}], "budget": 40, "workers": 0}
    config, said = configured(tmp_path / "out", stages=stages, data=data), []
    report = train(config, Progress(None), say=said.append)

    assert all(skips.names for skips in report.skipped.values())
    lines = (tmp_path / "out/metrics.jsonl").read_text().splitlines()
    counted = [json.loads(line)["skipped"] for line in lines]
    assert 0 < counted[0] <= counted[-1] == sum(each.num for each in report.skipped.values())
    (one,) = [sentence for sentence in said if "longer than budget" in sentence]
    assert one.startswith(report.skipped["longer_than_budget"].names[0])


def test_rows_left_out_by_several_ranks_are_counted_as_often_as_they_were():
    names = [f"{number}" for number in range(100)]
    of_plan = {"longer_than_budget": (2, ["a", "b"])}
    found = together(
        [of_plan | {"undecodable": (300, names)}, of_plan | {"undecodable": (3, ["x"])}]
    )

    assert found["longer_than_budget"] == Skips(num=2, names=("a", "b"))
    assert found["undecodable"] == Skips(num=303, names=tuple(names))


def test_the_chat_template_of_the_run_travels_with_the_model(document, tmp_path):
    template = tmp_path / "template.jinja"
    shutil.copyfile(shipped("backbone") / "chat_template.jinja", template)
    plain = document(tmp_path / "out", stages=[{"steps": 1}])
    llm = {**plain["model"]["llm"], "chat_template": str(template)}
    config = resolve_train(plain | {"model": {**plain["model"], "llm": llm}}, where="test")
    train(config, Progress(None))
    template.unlink()

    trained = load_trained(tmp_path / "out")

    assert trained.config.llm.chat_template == tmp_path / "out/model/chat_template.jinja"
    assert not trained.renderer.is_fallback


def test_a_chat_template_other_than_that_of_the_run_is_refused(document, tmp_path):
    template = tmp_path / "template.jinja"
    own = (shipped("backbone") / "chat_template.jinja").read_text()
    template.write_text(own.replace("'\\n'", "': '"))
    plain = document(tmp_path / "out", stages=[{"steps": 1}])
    llm = {**plain["model"]["llm"], "chat_template": str(template)}
    config = resolve_train(plain | {"model": {**plain["model"], "llm": llm}}, where="test")

    with pytest.raises(ModelError, match="must have been answered by way of the LLM's chat"):
        train(config, Progress(None))
