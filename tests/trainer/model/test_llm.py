import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma3TextConfig,
    GraniteConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    Phi3Config,
)

from sllm_data.errors import ModelError
from sllm_data.trainer.model.config import LLMConfig
from sllm_data.trainer.model.llm import embedding_scale, load_llm, prepare_llm

SIZE = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    "config",
    [
        GraniteConfig(**SIZE, logits_scaling=4.0),
        CohereConfig(**SIZE, logit_scale=0.1),
        Gemma3TextConfig(**SIZE, head_dim=8, final_logit_softcapping=2.0),
        MixtralConfig(**SIZE, num_local_experts=2),
        Phi3Config(**SIZE),
    ],
    ids=lambda config: config.model_type,
)
def test_models_that_scale_or_cap_their_logits_can_be_used(config):
    prepare_llm(AutoModelForCausalLM.from_config(config))


class _Doubling(LlamaForCausalLM):
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output


def test_a_model_that_does_more_to_its_logits_is_refused():
    with pytest.raises(ModelError, match="_Doubling does more; choose one of another"):
        prepare_llm(_Doubling(LlamaConfig(**SIZE)))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="must hold a causal LM of transformers: "):
        load_llm(LLMConfig(model=str(tmp_path)), dtype=torch.float32)


def test_a_model_on_disk_that_can_not_be_used_is_named(tmp_path):
    from transformers import Gemma2Config

    AutoModelForCausalLM.from_config(Gemma2Config(**SIZE, head_dim=8)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=rf"{tmp_path}: the model's attention must be plain"):
        load_llm(LLMConfig(model=str(tmp_path)), dtype=torch.float32)


def test_the_scale_is_that_of_words_as_they_enter_the_model():
    plain = AutoModelForCausalLM.from_config(LlamaConfig(**SIZE))
    scaled = AutoModelForCausalLM.from_config(Gemma3TextConfig(**SIZE, head_dim=8))
    assert embedding_scale(plain) == pytest.approx(0.3, rel=0.2)
    assert embedding_scale(scaled) == pytest.approx(0.3 * 4, rel=0.2)
