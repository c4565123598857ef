from dataclasses import replace

import pytest
import torch
from model_packs import LLMS, pack, talks

from sllm_data.trainer.model.answering import answer

SHAPES = [(5, -90, 4), (3,), (-31, 7, -250, 2), (-2, 1)]
NONE = frozenset[int]()


def prompts(seed: int = 1):
    """Conversations that end where the answer begins."""
    return talks(seed, [(*shape, 0) for shape in SHAPES])


def named(batch, *names: str):
    return replace(batch, sample_ids=names)


def by_full_passes(model, talk, count: int) -> list[int]:
    """The likeliest tokens by reading everything again for each of them."""
    batch = pack([talk], model.geometry)
    embeds, tokens = model.eval().embed(batch), []
    with torch.no_grad():
        for _ in range(count):
            tokens.append(int(model.llm(inputs_embeds=embeds).logits[0, -1].argmax()))
            word = model.llm.get_input_embeddings()(torch.tensor([[tokens[-1]]]))
            embeds = torch.cat([embeds, word], dim=1)
    return tokens


@pytest.mark.parametrize("llm", LLMS)
def test_answers_of_a_pack_are_those_of_its_conversations(llm, new_model):
    model = new_model("window_qformer", llm)
    made = prompts()
    together = answer(model, pack(made, model.geometry), max_tokens=9, stop_ids=NONE)
    assert together == [by_full_passes(model, talk, 9) for talk in made]


def test_each_answer_ends_in_front_of_its_stop_token(new_model):
    model = new_model("mlp", "qwen2")
    batch = pack(prompts(2), model.geometry)
    free = answer(model, batch, max_tokens=12, stop_ids=NONE)
    stops = {free[0][3], free[2][0]}
    wanted = []
    for tokens in free:
        ends = [place for place, token in enumerate(tokens) if token in stops]
        wanted.append(tokens[: ends[0]] if ends else tokens)
    assert answer(model, batch, max_tokens=12, stop_ids=stops) == wanted
    assert wanted[2] == []


def test_a_drawn_answer_comes_from_seed_and_name_alone(new_model):
    model = new_model()
    made = prompts(3)
    options = {"max_tokens": 12, "stop_ids": NONE, "temperature": 2.0}
    packed = named(pack(made, model.geometry), *"abcd")
    together = answer(model, packed, seed=1, **options)
    alone = [
        answer(model, named(pack([talk], model.geometry), name), seed=1, **options)[0]
        for talk, name in zip(made, "abcd", strict=True)
    ]
    assert together == alone
    assert answer(model, packed, seed=2, **options) != together


def test_a_low_temperature_is_nearly_greedy(new_model):
    model = new_model()
    batch = pack(prompts(4), model.geometry)
    greedy = answer(model, batch, max_tokens=5, stop_ids=NONE)
    assert answer(model, batch, max_tokens=5, stop_ids=NONE, temperature=1e-4) == greedy


def test_answering_in_training_leaves_the_model_as_it_was(new_model):
    model = new_model(encoder_mode="lora", activation_checkpointing=True)
    made = prompts(5)
    model.train()
    found = answer(model, pack(made, model.geometry), max_tokens=4, stop_ids=NONE)
    assert model.training
    assert any(layer.training for layer in model.llm.base_model.layers)
    assert found == [by_full_passes(model, talk, 4) for talk in made]


def test_16_bits_answer(new_model):
    model = new_model("mlp", "qwen3", dtype=torch.bfloat16)
    batch = pack(prompts(6), model.geometry)
    assert [len(a) for a in answer(model, batch, max_tokens=3, stop_ids=NONE)] == [3] * 4


def test_answers_with_attention_that_is_being_looked_at_are_refused(new_model):
    model = new_model()
    model.llm.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="answers need the attention sllm_packed"):
        answer(model, pack(prompts(7), model.geometry), max_tokens=1, stop_ids=NONE)
