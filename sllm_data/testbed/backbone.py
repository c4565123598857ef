"""The parts of a small chat model: a tokenizer, a chat template, a Llama, and their folder.

The folder is one that every engine and `transformers` load as they load any Llama: weights
in safetensors, a byte-level BPE, a chat template with a system prompt, a generation config.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT_LENGTH = 2_048
BEGIN, TURN, END, PAD = "<|begin|>", "<|turn|>", "<|end|>", "<|pad|>"
CHAT_TEMPLATE = """\
{{- '<|begin|>' -}}
{%- for message in messages -%}
    {{- '<|turn|>' + message['role'] + '\\n' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn|>assistant\\n' -}}
{%- endif -%}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LlamaSize:
    """The shape of a Llama; every head has its own keys and values."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    tied: bool
    """Whether the output reads the embeddings backwards."""


def trained_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    """Returns a byte-level BPE of at most so many tokens, to which no text is unknown."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BEGIN, TURN, END, PAD],
        initial_alphabet=ByteLevel.alphabet(),  # every byte, so no text is out of vocabulary
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrapped(tokenizer: Tokenizer) -> "PreTrainedTokenizerFast":
    """Returns the tokenizer as `transformers` knows it, with its chat template."""
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - its import takes seconds

    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[TURN],
        model_max_length=CONTEXT_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = CHAT_TEMPLATE
    return made


def llama(tokenizer: Tokenizer, size: LlamaSize, *, seed: int) -> "LlamaForCausalLM":
    """Returns a Llama with random weights; the same seed gives the same ones."""
    import torch  # noqa: PLC0415 - its import takes seconds
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - as above

    begin, end, pad = (tokenizer.token_to_id(token) for token in (BEGIN, END, PAD))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=CONTEXT_LENGTH,
        initializer_range=1 / math.sqrt(size.hidden),
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=pad,
        tie_word_embeddings=size.tied,
    )
    with torch.random.fork_rng():  # the caller's random state stays as it is
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config.update(bos_token_id=begin, eos_token_id=end, pad_token_id=pad)
    return model


def save(folder: Path, model: "LlamaForCausalLM", tokenizer: Tokenizer) -> None:
    """Writes the model folder; files in it are overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    wrapped(tokenizer).save_pretrained(folder)
