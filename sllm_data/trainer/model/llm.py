"""The language model: loaded, its attention replaced, its logits at some positions only.

Any decoder of transformers will do whose attention is a plain one that can be replaced. What
comes out of its body becomes logits by `to_logits`; that this is all the model does with it is
tried once with two tokens when it is loaded.
"""

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Cache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from sllm_data.chat import ChatRenderer
from sllm_data.errors import ModelError
from sllm_data.trainer.model.attention import (
    PACKED,
    Segments,
    no_mask,
    use_packed_attention,
)
from sllm_data.trainer.model.config import LLMConfig
from sllm_data.trainer.model.pretrained import read_model

_TOLERANCE = 1e-2  # of logits, by the largest: in 16 bits one head can differ from itself
_SAMPLE = 1024  # words whose embeddings are measured


def load_renderer(config: LLMConfig) -> ChatRenderer:
    """Returns how conversations are written for the LLM.

    Raises:
        ModelError: Its tokenizer can't be found, or the template can't be used.
    """
    return ChatRenderer.load(
        config.model,
        revision=config.revision,
        chat_template=config.chat_template,
        template_kwargs=config.template_kwargs,
    )


def load_llm(config: LLMConfig, *, dtype: torch.dtype) -> PreTrainedModel:
    """Reads a causal LM with packed attention, on the CPU.

    Raises:
        ModelError: There is no such model, weights are missing, or its architecture does what
            is not known here.
    """
    llm = read_model(
        AutoModelForCausalLM,
        config.model,
        config.revision,
        dtype=dtype,
        what="a causal LM of transformers",
    )
    try:
        prepare_llm(llm)
    except ModelError as error:
        raise ModelError(f"{config.model}: {error}") from error
    return llm


def prepare_llm(llm: PreTrainedModel) -> None:
    """Replaces attention and tries whether the model can be used.

    Raises:
        ModelError: It can't.
    """
    use_packed_attention(llm)
    tokens = torch.arange(2, device=llm.device)
    with torch.no_grad():
        states = run_body(
            llm,
            llm.get_input_embeddings()(tokens)[None],
            tokens[None],
            segments=Segments(
                lengths=(2,),
                borders=torch.tensor([0, 2], dtype=torch.int32),
                causal=True,
                kernel="sdpa",
            ),
        ).last_hidden_state
        ours = to_logits(llm, states).float()
        theirs = llm(input_ids=tokens[None], use_cache=False).logits.float()
    if (ours - theirs).abs().max() > _TOLERANCE * theirs.abs().max():
        raise ModelError(
            "the model's logits must be its output layer's, and its attention a plain one; "
            f"{type(llm).__name__} does more; choose one of another architecture"
        )


def run_body(
    llm: PreTrainedModel,
    embeds: Tensor,
    position_ids: Tensor,
    *,
    segments: Segments,
    cache: Cache | None = None,
    all_layers: bool = False,
) -> BaseModelOutputWithPast:
    """Runs all but the output layer over one pack.

    Args:
        llm: The model.
        embeds: Shape (1, P, H).
        position_ids: int64 (1, P).
        segments: Where attention stays.
        cache: Filled with keys and values, where given.
        all_layers: Whether `hidden_states` are wanted: (1, P, H) in front of the first layer and
            behind each.

    Raises:
        ValueError: A cache is to be filled by another attention than ours, which would let one
            conversation see the next.
    """
    packed = llm.config._attn_implementation == PACKED  # noqa: SLF001 - its only name
    if cache is not None and not packed:
        raise ValueError(
            f"answers need the attention {PACKED}; set it back with set_attn_implementation"
        )
    found: BaseModelOutputWithPast = llm.base_model(
        inputs_embeds=embeds,
        position_ids=position_ids,
        # Another attention, set to look at its weights, gets its mask from the positions.
        attention_mask=no_mask(embeds) if packed else None,
        past_key_values=cache,
        use_cache=cache is not None,
        output_hidden_states=all_layers,
        segments=segments,
    )
    return found


def to_logits(llm: PreTrainedModel, states: Tensor) -> Tensor:
    """Returns logits: (..., H) to (..., vocabulary), with what some models do to them."""
    logits: Tensor = llm.get_output_embeddings()(states)
    config = llm.config
    if (divisor := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits = logits / divisor
    if (factor := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * factor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma
        logits = (logits / cap).tanh() * cap
    return logits


def embedding_scale(llm: PreTrainedModel) -> float:
    """Returns the root mean square of what words enter the model with."""
    table = llm.get_input_embeddings()
    step = max(1, table.weight.shape[0] // _SAMPLE)
    words = torch.arange(0, table.weight.shape[0], step, device=table.weight.device)
    with torch.no_grad():
        return float(table(words).float().square().mean().sqrt())
