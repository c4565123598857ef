"""Packs in halves, packs that are made up, and what packs cost."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from sllm_data.chat import ChatRenderer
from sllm_data.trainer.budget import largest, measured_budget, synthetic_pack
from sllm_data.trainer.data.loader import open_packs
from sllm_data.trainer.figures import peak_memory_gib
from sllm_data.trainer.flops import PartCost, cost_of, peak_tflops
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.halving import halves_of
from sllm_data.trainer.model.config import LossConfig
from sllm_data.trainer.model.speech_lm import load_speech_lm
from sllm_data.trainer.step import cut_in_halves

KL = LossConfig.model_validate({"response_kl": {"weight": 1.0}})


@pytest.fixture(scope="module")
def model(configured, tmp_path_factory):
    config = configured(tmp_path_factory.mktemp("packs"))
    return load_speech_lm(config.model, seed=1, dtype=torch.float32, device="cpu").eval()


@pytest.fixture(scope="module")
def pack(configured, tmp_path_factory, model, world):
    data = {"datasets": [{"path": str(world)}], "budget": 256, "workers": 0}
    config = configured(tmp_path_factory.mktemp("packs"), data=data)
    renderer = ChatRenderer.load(config.model.llm.model)
    geometry = model.geometry
    opened = open_packs(config.data, renderer=renderer, geometry=geometry, seed=1, twins=True)
    with opened as stream:
        return next(stream)


def _gradients(model, packs) -> dict[str, torch.Tensor]:
    model.zero_grad()
    for pack in packs:
        model(pack, KL).total.backward()
    return {name: param.grad.clone() for name, param in model.trainable_parameters().items()}


def test_two_halves_have_the_gradients_of_the_whole(model, pack):
    halves = cut_in_halves([pack])

    assert len(halves) == 2
    assert [name for half in halves for name in half.sample_ids] == list(pack.sample_ids)
    assert sum(half.audio_seconds for half in halves) == pytest.approx(pack.audio_seconds)
    whole, both = _gradients(model, [pack]), _gradients(model, halves)
    for name, value in whole.items():
        torch.testing.assert_close(both[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_pack_of_one_conversation_has_no_halves(pack):
    parts = [pack]
    while len(parts) < len(pack.sample_ids):
        parts = cut_in_halves(parts)

    assert all(halves_of(part) is None for part in parts)
    assert cut_in_halves(parts) == parts


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_largest_that_fits_is_found_and_nothing_twice_as_large_is_tried(bound, at_most):
    tried = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= bound

    assert largest(fits, at_most=at_most) == min(bound, at_most)
    assert max(tried) <= max(1, 2 * bound)
    assert len(tried) == len(set(tried))


def test_a_budget_that_is_measured_grows_with_the_memory_and_stays_within_it(model):
    losses = LossConfig()
    assert measured_budget(model, losses, at_most=64, memory_gib=64) == 64
    taken = peak_memory_gib("cpu")

    # a position takes 0.1 to 0.3 MiB, by what the processor's kernels need
    small = measured_budget(model, losses, at_most=16384, memory_gib=taken + 0.064)
    large = measured_budget(model, losses, at_most=16384, memory_gib=taken + 0.4)

    assert 64 <= small < 1024
    assert 2 * small < large < 8192


@given(
    st.integers(1, 30).map(lambda granules: 64 * granules),
    st.booleans(),
    st.integers(1, 40),
    st.integers(1, 3),
)
def test_a_made_up_pack_fills_its_budget_with_clips_as_geometry_counts(
    budget, long, window, queries
):
    geometry = AudioGeometry(window=window, queries=queries)
    made = synthetic_pack(budget, geometry, long=long, twin=True)

    assert budget / 2 < len(made.text.token_ids) <= budget
    assert int(made.text.lengths.sum()) == len(made.text.token_ids)
    assert len(made.features) == int(made.clip_frames.sum())
    assert len(made.audio_positions) == int(made.clip_positions.sum())
    for frames, positions in zip(made.clip_frames, made.clip_positions, strict=True):
        assert geometry.num_positions(int(frames)) == positions
    assert len(made.audio_positions) > 0
    assert len(made.text.labels) > 0


@pytest.mark.parametrize("long", [True, False])
def test_a_model_computes_on_a_made_up_pack(model, long):
    made = synthetic_pack(128, model.geometry, long=long, twin=True)

    assert torch.isfinite(model(made, KL).total)


def test_the_cost_of_matrices_is_what_torch_counts(model, pack):
    with FlopCounterMode(display=False) as counter:
        model(pack, LossConfig()).total.backward()

    cost = cost_of(model)
    parts = {name: getattr(cost, name) for name in ("encoder", "connector", "llm", "head")}
    without = replace(cost, **{name: replace(part, attention=0) for name, part in parts.items()})
    # on a CPU torch does not count attention; it does a Q-Former's keys and values
    counted = counter.get_total_flops()
    assert without.flops(pack) == pytest.approx(counted, rel=0.1)
    assert without.flops(pack) < counted


def test_a_part_that_rests_in_a_stage_has_no_gradients_of_its_own_to_count(model, pack):
    every, connector = cost_of(model), cost_of(model, {"encoder": 0, "connector": 1, "llm": 0})
    assert connector.llm.trained == connector.encoder.trained == connector.head.trained == 0
    assert connector.connector == every.connector
    # gradients pass through the LLM all the same
    assert connector.llm.with_backward
    assert not connector.encoder.with_backward
    assert connector.flops(pack) < every.flops(pack)


def test_a_clip_of_several_chunks_costs_what_its_chunks_do(model, pack):
    cost, full = cost_of(model), model.geometry.max_frames
    whole = replace(pack, clip_frames=torch.tensor([2 * full]))
    chunks = replace(pack, clip_frames=torch.tensor([full, full]))

    assert cost.encoder.attention > 0
    assert cost.flops(whole) == cost.flops(chunks)


def test_attention_costs_by_the_square_of_each_sequence():
    part = PartCost(weights=0, trained=0, attention=2 * 8, with_backward=False)

    assert part.flops(10, 10 * 10) == 4 * 10 * 10 * 8 * 2
    assert replace(part, with_backward=True).flops(10, 10 * 10) == 3 * 4 * 10 * 10 * 8 * 2


def test_what_a_machine_can_do_is_known_for_some_gpus():
    assert peak_tflops("NVIDIA H200", "bf16") == 989
    assert peak_tflops("NVIDIA H200", "fp32") is None
    assert peak_tflops("another", "bf16") is None
