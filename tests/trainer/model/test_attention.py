import pytest
import torch
from model_packs import LLMS
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config

from sllm_data.errors import ModelError
from sllm_data.trainer.model.attention import (
    Kernel,
    choose_kernel,
    packed_attention,
    segments_of,
)
from sllm_data.trainer.model.config import LLMConfig
from sllm_data.trainer.model.llm import load_llm, prepare_llm, run_body

LENGTHS = [9, 1, 17, 4]
CPU = torch.device("cpu")


def states_of(llm, embeds: Tensor, lengths: list[int], kernel: Kernel = "sdpa") -> Tensor:
    positions = torch.cat([torch.arange(length) for length in lengths])
    segments = segments_of(lengths, causal=True, kernel=kernel, device=CPU)
    with torch.no_grad():
        return run_body(llm, embeds, positions[None], segments=segments).last_hidden_state


def some_embeds(seed: int = 0) -> Tensor:
    return torch.randn(1, sum(LENGTHS), 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def llms(llm_folders):
    return {
        name: load_llm(LLMConfig(model=str(folder)), dtype=torch.float32)
        for name, folder in llm_folders.items()
    }


@pytest.mark.parametrize("name", LLMS)
def test_a_pack_gives_what_transformers_gives_for_each_conversation(name, llms, llm_folders):
    theirs = AutoModelForCausalLM.from_pretrained(llm_folders[name]).eval()
    embeds = some_embeds()
    with torch.no_grad():
        wanted = [
            theirs.model(inputs_embeds=part).last_hidden_state for part in embeds.split(LENGTHS, 1)
        ]
    torch.testing.assert_close(states_of(llms[name], embeds, LENGTHS), torch.cat(wanted, dim=1))


def test_a_conversation_does_not_hear_its_neighbours(llms):
    embeds = some_embeds()
    changed = embeds.clone()
    changed[:, LENGTHS[0] + LENGTHS[1] :] += 1
    before, after = (states_of(llms["llama"], side, LENGTHS) for side in (embeds, changed))
    first = LENGTHS[0] + LENGTHS[1]
    assert torch.equal(before[:, :first], after[:, :first])
    assert not torch.allclose(before[:, first:], after[:, first:])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")  # no gradient
def test_flex_attention_computes_what_sdpa_does(llms):
    embeds = some_embeds()
    flex, sdpa = (
        states_of(llms["mistral"], embeds, LENGTHS, kernel) for kernel in ("flex", "sdpa")
    )
    torch.testing.assert_close(flex, sdpa)


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("causal", [True, False])
def test_the_mask_of_flex_attention_is_what_sdpa_sees(causal, window):
    lengths = [130, 1, 5, 200]  # blocks have 128 places
    size = sum(lengths)
    query, value = torch.zeros(1, 1, size, 8), torch.eye(size)[None, None]
    module = torch.nn.Identity()
    segments = segments_of(lengths, causal=causal, kernel="sdpa", device=CPU)
    shares, _ = packed_attention(
        module, query, query, value, None, segments=segments, sliding_window=window
    )
    seen = shares[0, :, 0] > 0

    mask = segments.block_mask(window)

    places = torch.arange(size)
    assert torch.equal(mask.mask_mod(None, None, places[:, None], places[None]), seen)
    blocks = torch.nn.functional.pad(seen, (0, -size % 128, 0, -size % 128))
    blocks = blocks.unflatten(1, (-1, 128)).unflatten(0, (-1, 128)).any(dim=1).any(dim=-1)
    assert torch.equal(mask.to_dense()[0, 0].bool(), blocks)
    behind = places[:, None] - places
    number = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    wanted = number[:, None] == number
    wanted &= behind.abs() < (window or size)
    assert torch.equal(seen, wanted & (behind >= 0) if causal else wanted)


def test_eager_attention_of_transformers_reads_a_pack_as_well(llms):
    llm, embeds = llms["qwen2"], some_embeds()
    ours = states_of(llm, embeds, LENGTHS)
    llm.set_attn_implementation("eager")
    try:
        theirs = states_of(llm, embeds, LENGTHS)
    finally:
        llm.set_attn_implementation("sllm_packed")
    torch.testing.assert_close(theirs, ours)


@pytest.mark.parametrize("wanted", ["flash", "flex"])
def test_attention_that_needs_a_gpu_is_refused_without(wanted):
    with pytest.raises(ModelError, match=rf"{wanted} needs a GPU.* found cpu"):
        choose_kernel(wanted, device=CPU, dtype=torch.bfloat16)


def test_on_a_cpu_attention_goes_conversation_by_conversation():
    assert choose_kernel("auto", device=CPU, dtype=torch.float32) == "sdpa"


def test_an_llm_with_more_than_plain_attention_is_refused():
    llm = AutoModelForCausalLM.from_config(
        Gemma2Config(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
        )
    )
    with pytest.raises(ModelError, match="Gemma2Attention adds softcap; choose one of another"):
        prepare_llm(llm)
