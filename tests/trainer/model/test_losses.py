from dataclasses import replace

import pytest
import torch
from model_packs import pack, talks

from sllm_data.trainer.model.config import LossConfig
from sllm_data.trainer.model.losses import LabelStates, loss_sums

SHAPES = [(5, -90, 4, 6), (-31, 7, 3)]
WITH_TWIN = LossConfig.model_validate(
    {
        "cross_entropy": {"weight": 0.0},
        "response_kl": {"weight": 1.0},
        "hidden_alignment": {"weight": 1.0},
    }
)
MODES = ("frozen", "lora", "full")


def of_text_alone(model):
    """The side that hears is the side that reads."""
    batch = pack(talks(1, [(6, 4), (2, 3)]), model.geometry)
    return replace(batch, twin=batch.text)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_text_on_both_sides_has_no_distance(mode, model_config, new_model):
    model = new_model(llm_mode=mode)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.zero_()
    sums = model(of_text_alone(model), WITH_TWIN)
    assert float(sums.parts["response_kl"]) == pytest.approx(0, abs=1e-5)
    assert float(sums.parts["hidden_alignment"]) == pytest.approx(0, abs=1e-4)


def test_the_twin_is_read_by_the_model_without_lora(new_model):
    model = new_model(llm_mode="lora")  # its LoRA is not zero
    assert float(model(of_text_alone(model), WITH_TWIN).parts["response_kl"]) > 0.01


def test_speech_unlike_its_text_has_a_distance(new_model):
    model = new_model(llm_mode="frozen")
    sums = model(pack(talks(2, SHAPES), model.geometry), WITH_TWIN)
    assert all(float(part) > 0.01 for part in sums.parts.values())


def test_a_frozen_copy_keeps_reading_as_the_model_once_did(new_model):
    model = new_model(llm_mode="full", keep_original=True)
    batch = of_text_alone(model)
    assert float(model(batch, WITH_TWIN).parts["response_kl"]) == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        for value in model.llm.parameters():
            value.mul_(1.2)
    assert float(model(batch, WITH_TWIN).parts["response_kl"]) > 0.01
    model(batch, WITH_TWIN).total.backward()
    assert all(value.grad is None for value in model.original.parameters())


def test_without_a_copy_a_trained_model_is_its_own_measure(new_model):
    model = new_model(llm_mode="full")
    with torch.no_grad():
        for value in model.llm.parameters():
            value.mul_(1.2)
    sums = model(of_text_alone(model), WITH_TWIN)
    assert float(sums.parts["response_kl"]) == pytest.approx(0, abs=1e-5)


def test_sums_are_weighted_into_the_total(new_model):
    model = new_model()
    batch = pack(talks(3, SHAPES), model.geometry)
    config = LossConfig.model_validate(
        {
            "cross_entropy": {"weight": 2.0},
            "response_kl": {"weight": 0.5, "temperature": 1.0},
            "hidden_alignment": {"weight": 3.0, "distance": "mse", "depths": [0.5]},
        }
    )
    sums = model(batch, config)
    weighted = (
        2 * sums.parts["cross_entropy"]
        + 0.5 * sums.parts["response_kl"]
        + 3 * sums.parts["hidden_alignment"]
    )
    torch.testing.assert_close(sums.total.detach(), weighted)
    assert sums.num_labels == 9


def test_slices_give_what_all_labels_at_once_give():
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 16)
    speech, twin = torch.randn(2, 11, 8).unbind()
    labels = torch.randint(16, (11,))
    config = LossConfig.model_validate({"response_kl": {"weight": 1.0}})
    found = []
    for size in (10_000, 3 * 16, 1):
        states = speech.clone().requires_grad_()
        sums = loss_sums(
            LabelStates(last=states),
            LabelStates(last=twin),
            labels,
            to_logits=head,
            config=config,
            slice_logits=size,
        )
        sums.total.backward()
        found.append((sums.total.detach(), states.grad, head.weight.grad.clone()))
        head.zero_grad()
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


def test_a_batch_without_twin_is_refused_where_a_loss_needs_one(new_model):
    model = new_model()
    batch = replace(pack(talks(4, SHAPES), model.geometry), twin=None)
    with pytest.raises(ValueError, match="must have a text twin for this loss, it has none"):
        model(batch, WITH_TWIN)
    speech = LabelStates(last=torch.zeros(1, 4))
    with pytest.raises(ValueError, match="the text twin's states must be there"):
        loss_sums(
            speech,
            None,
            torch.zeros(1, dtype=torch.int64),
            to_logits=lambda x: x,
            config=WITH_TWIN,
        )


def test_a_twin_with_other_labels_is_refused(new_model):
    model = new_model()
    batch = pack(talks(5, SHAPES), model.geometry)
    short = replace(batch.twin, labels=batch.twin.labels[1:])
    with pytest.raises(ValueError, match="it has 8, not 9"):
        model(replace(batch, twin=short), WITH_TWIN)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"cross_entropy": {"weight": 0}}, "one loss must have a weight above 0"),
        ({"hidden_alignment": {"depths": [0.0]}}, r"depths must be in \(0, 1\], got \[0.0\]"),
    ],
)
def test_a_configuration_of_losses_that_can_not_be_is_refused(document, sentence):
    with pytest.raises(ValueError, match=sentence):
        LossConfig.model_validate(document)
