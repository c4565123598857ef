from pathlib import Path

import pytest
import torch
from model_packs import CONNECTORS, pack, talks
from torch import Tensor

from sllm_data.errors import ModelError
from sllm_data.trainer.model.config import (
    ConnectorConfig,
    EncoderConfig,
    LLMConfig,
    LossConfig,
    ModelConfig,
)
from sllm_data.trainer.model.speech_lm import SpeechLM, load_speech_lm

SHIPPED = Path(__file__).parents[3] / "sllm_data" / "testbed" / "assets"
SHAPES = [(5, -90, 4, 6), (3, 2), (-31, 7, -250, 2, 3), (-2, 1, 9)]
"""Audio behind text; text alone; audio first and two clips, one of two chunks; a tiny clip."""
ALL_LOSSES = LossConfig.model_validate(
    {"response_kl": {"weight": 0.5}, "hidden_alignment": {"weight": 0.3, "distance": "mse"}}
)


def gradients(model: SpeechLM) -> dict[str, Tensor]:
    found = {name: value.grad for name, value in model.trainable_parameters().items()}
    model.zero_grad()
    return found


@pytest.mark.parametrize(
    ("connector", "llm", "modes"),
    [
        ("window_qformer", "llama", ("lora", "lora")),
        ("mlp", "qwen2", ("frozen", "full")),
        ("layer_mix_qformer", "qwen3", ("full", "lora")),
        ("window_qformer", "mistral", ("frozen", "frozen")),
    ],
)
def test_a_pack_has_the_loss_and_the_gradients_of_its_conversations(
    connector, llm, modes, new_model
):
    model = new_model(connector, llm, encoder_mode=modes[0], llm_mode=modes[1])
    made = talks(1, SHAPES)
    packed = model(pack(made, model.geometry), ALL_LOSSES)
    packed.total.backward()
    at_once = gradients(model)
    alone = [model(pack([talk], model.geometry), ALL_LOSSES) for talk in made]
    torch.stack([sums.total for sums in alone]).sum().backward()
    torch.testing.assert_close(packed.total, sum(sums.total for sums in alone))
    assert packed.num_labels == sum(sums.num_labels for sums in alone) == 20
    one_by_one = gradients(model)
    for name, gradient in at_once.items():
        size = float(one_by_one[name].abs().max())
        torch.testing.assert_close(
            gradient, one_by_one[name], atol=1e-5 * max(1, size), rtol=1e-4, msg=name
        )


def test_logits_at_labels_give_the_loss_of_all_logits(new_model):
    model = new_model("window_qformer", "qwen2")
    batch = pack(talks(2, SHAPES[:1]), model.geometry)
    found = model(batch, LossConfig())
    logits = model.llm(inputs_embeds=model.embed(batch)).logits[0]
    wanted = torch.nn.functional.cross_entropy(
        logits[batch.text.label_positions], batch.text.labels, reduction="sum"
    )
    torch.testing.assert_close(found.total, wanted)
    torch.testing.assert_close(model.label_losses(batch).sum(), wanted.detach())


def test_audio_stands_where_the_batch_says(new_model):
    model = new_model()
    batch = pack(talks(3, SHAPES), model.geometry)
    embeds = model.embed(batch)[0]
    heard = model.hear(batch.features, batch.clip_frames.tolist())
    is_text = torch.ones(len(embeds), dtype=torch.bool)
    is_text[batch.audio_positions] = False
    words = model.llm.get_input_embeddings()(batch.text.token_ids)
    assert torch.equal(embeds[batch.audio_positions], heard)
    assert torch.equal(embeds[is_text], words[is_text])


@pytest.mark.parametrize("encoder_mode", ["frozen", "lora"])
@pytest.mark.parametrize("llm_mode", ["frozen", "lora"])
def test_what_is_frozen_has_no_gradient_and_does_not_change(encoder_mode, llm_mode, new_model):
    model = new_model(encoder_mode=encoder_mode, llm_mode=llm_mode)
    trained = model.trainable_parameters()
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW(trained.values(), lr=0.1)
    model(pack(talks(4, SHAPES), model.geometry), ALL_LOSSES).total.backward()
    optimizer.step()
    changed = {
        name for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    assert changed == set(trained)
    assert all(
        value.grad is None for name, value in model.named_parameters() if name not in trained
    )


def test_lora_of_the_llm_touches_the_llm_only(new_model):
    names = new_model(llm_mode="lora").trainable_parameters()
    lora = {name for name in names if "lora_" in name}
    assert lora
    assert all(name.startswith("llm.") for name in lora)
    assert all(name.startswith("connector.") for name in names.keys() - lora)


def test_lora_on_a_layer_that_is_not_there_is_refused(model_config):
    config = model_config()
    llm = config.llm.model_dump() | {"lora": {"targets": ["q_proj", "qkv"]}}
    config = config.model_copy(update={"llm": LLMConfig.model_validate(llm)})
    with pytest.raises(ModelError, match="found none called qkv; there are down_proj, "):
        load_speech_lm(config, seed=0, dtype=torch.float32, device="cpu")


def test_fresh_weights_come_from_the_seed_alone(model_config):
    def fresh(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed * 7)
        model = load_speech_lm(model_config(), seed=seed, dtype=torch.float32, device="cpu")
        return model.trainable_state()

    first, again, other = fresh(1), fresh(1), fresh(2)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["connector.queries"], other["connector.queries"])


def test_fresh_lora_changes_nothing(model_config):
    losses = []
    for mode in ("frozen", "lora"):
        config = model_config(llm_mode=mode, encoder_mode=mode)
        model = load_speech_lm(config, seed=5, dtype=torch.float32, device="cpu")
        twin = pack(talks(5, SHAPES), model.geometry)
        losses.append(model.label_losses(twin, twin=True))
    assert torch.equal(*losses)


@pytest.mark.parametrize("connector", CONNECTORS)
def test_activation_checkpointing_changes_neither_loss_nor_gradients(connector, new_model):
    found = []
    for switch in (False, True):
        model = new_model(
            connector, encoder_mode="lora", llm_mode="lora", activation_checkpointing=switch
        )
        sums = model(pack(talks(6, SHAPES), model.geometry), ALL_LOSSES)
        sums.total.backward()
        found.append((sums.total.detach(), gradients(model)))
    torch.testing.assert_close(found[0], found[1])


def test_a_pack_of_text_alone_leaves_a_zero_gradient_in_the_connector(new_model):
    model = new_model()
    sums = model(pack(talks(7, [(4, 3), (2, 2)]), model.geometry), LossConfig())
    sums.total.backward()
    found = gradients(model)
    assert all(
        value is not None and not value.any()
        for name, value in found.items()
        if name.startswith("connector.")
    )
    assert any(value.any() for name, value in found.items() if name.startswith("llm."))


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_16_bits_give_nearly_the_loss_and_a_gradient_everywhere(mode, new_model):
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        model = new_model("mlp", "qwen3", llm_mode=mode, dtype=dtype)
        sums = model(pack(talks(8, SHAPES), model.geometry), ALL_LOSSES)
        losses.append(float(sums.total.detach()))
    sums.total.backward()
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    trained = model.trainable_parameters()
    assert all(value.dtype == torch.float32 and value.grad.any() for value in trained.values())
    frozen = [value for value in model.parameters() if not value.requires_grad]
    assert {value.dtype for value in frozen} == {torch.bfloat16}


def test_the_state_of_what_is_trained_comes_back(new_model):
    model, other = new_model(encoder_mode="lora"), new_model(encoder_mode="lora")
    with torch.no_grad():
        for value in other.trainable_parameters().values():
            value.add_(1)
    other.load_trainable_state(model.trainable_state())
    batch = pack(talks(9, SHAPES), model.geometry)
    assert torch.equal(model.label_losses(batch), other.label_losses(batch))


def test_the_state_of_another_model_is_refused(new_model):
    model = new_model()
    with pytest.raises(
        ModelError, match=r"tensors are in one of them only, the first is connector\."
    ):
        model.load_trainable_state(new_model("mlp").trainable_state())
    state = model.trainable_state()
    state["connector.queries"] = state["connector.queries"][:, :1]
    with pytest.raises(ModelError, match=r"queries has shape \(1, 2, 16\) here and \(1, 1, 16\)"):
        model.load_trainable_state(state)


def test_a_pack_of_another_geometry_is_refused(new_model):
    model = new_model()
    batch = pack(talks(10, SHAPES), new_model("mlp").geometry)
    with pytest.raises(ValueError, match="the pack was made with another geometry"):
        model.embed(batch)


def test_taps_behind_the_last_layer_of_the_encoder_are_refused(model_config):
    taps = ConnectorConfig(kind="layer_mix_qformer", taps=(2, 6))
    config = model_config().model_copy(update={"connector": taps})
    with pytest.raises(ModelError, match=r"whisper: taps must be 1 to 4, got \[2, 6\]"):
        load_speech_lm(config, seed=0, dtype=torch.float32, device="cpu")


def test_a_gpu_that_is_not_there_is_refused(model_config):
    with pytest.raises(ModelError, match="asked for cuda:99"):
        load_speech_lm(model_config(), seed=0, dtype=torch.bfloat16, device="cuda:99")


def test_a_model_of_the_shipped_parts_hears_three_seconds_as_nine_positions():
    config = ModelConfig(
        encoder=EncoderConfig(model=str(SHIPPED / "encoder")),
        connector=ConnectorConfig(hidden_size=48, heads=4),
        llm=LLMConfig(model=str(SHIPPED / "backbone")),
    )
    model = load_speech_lm(config, seed=0, dtype=torch.float32, device="cpu")
    assert model.hear(torch.zeros(300, 80), [300]).shape == (9, 192)
    counts = model.parameter_counts()
    assert counts["encoder"].trainable == 0
    assert counts["connector"].frozen == 0
    assert counts["llm"].frozen == 2_123_712
