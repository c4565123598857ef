"""A tiny chat model with random weights, for machines that reach no model hub.

It is a real model folder: Llama weights in safetensors, a byte-level BPE trained on the
testbed's own sentences, a chat template with a system prompt, a generation config. Every
engine that loads a Qwen or a Llama loads it, so the whole pipeline runs as it will with
a real backbone. Its answers mean nothing: the weights are random until something better
exists. They are only made to lean towards frequent tokens and to end now and then, so
that answers are made of words and stop, as real ones do.
"""

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from sllm_data.testbed.sentences import LANGUAGES, sentences

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

VOCAB_SIZE = 1_024
CONTEXT_LENGTH = 2_048

_HIDDEN = 256
_BEGIN, _TURN, _END, _PAD = "<|begin|>", "<|turn|>", "<|end|>", "<|pad|>"
_NUM_TEXTS = 1_000
_END_SHARE = 0.03  # of an answer's tokens
_TOKEN_SIZE = 16.0
_CONSTANT_SIZE = 30.0
_CONSTANT_AFTER_NORM = 14.0
_RARE = 1e-7  # the share of tokens that the texts do not hold
_SPREAD = 3.0

CHAT_TEMPLATE = """\
{{- '<|begin|>' -}}
{%- for message in messages -%}
    {{- '<|turn|>' + message['role'] + '\\n' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn|>assistant\\n' -}}
{%- endif -%}
"""


def write_random_backbone(folder: Path, *, seed: int = 0) -> None:
    """Writes a Llama of 4 layers and hidden size 256 with random weights, 16 MB.

    The same seed gives the same tokenizer and, for one version of torch, the same weights.
    Takes a few seconds, most of them the import of torch.

    Args:
        folder: The model folder; created, files in it are overwritten.
        seed: Chooses the weights and the sentences that the tokenizer is trained on.
    """
    texts = [text for language in LANGUAGES for text in sentences(language, _NUM_TEXTS, seed=seed)]
    tokenizer = _trained_tokenizer(texts)
    model = _random_llama(tokenizer, seed)
    _lean(model, _log_shares(tokenizer, texts))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    _wrapped(tokenizer).save_pretrained(folder)


def _trained_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[_BEGIN, _TURN, _END, _PAD],
        initial_alphabet=ByteLevel.alphabet(),  # every byte, so no text is out of vocabulary
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _wrapped(tokenizer: Tokenizer) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - its import takes seconds

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_BEGIN,
        eos_token=_END,
        pad_token=_PAD,
        additional_special_tokens=[_TURN],
        model_max_length=CONTEXT_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def _random_llama(tokenizer: Tokenizer, seed: int) -> "LlamaForCausalLM":
    import torch  # noqa: PLC0415 - its import takes seconds
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - as above

    begin, end, pad = (tokenizer.token_to_id(token) for token in (_BEGIN, _END, _PAD))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=_HIDDEN,
        intermediate_size=2 * _HIDDEN,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT_LENGTH,
        initializer_range=1 / math.sqrt(_HIDDEN),
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=pad,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():  # the caller's random state stays as it is
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config.update(bos_token_id=begin, eos_token_id=end, pad_token_id=pad)
    return model


def _lean(model: "LlamaForCausalLM", log_shares: list[float]) -> None:
    """Gives the logits a constant part: the log share of each token.

    Llama has no bias, so feature 0 is made one: every embedding holds the same value there,
    no layer reads or writes it, and the output reads it back after the last norm.
    """
    import torch  # noqa: PLC0415 - its import takes seconds

    with torch.no_grad():
        # Ahead of what the layers add, so that an answer follows its prompt.
        model.model.embed_tokens.weight *= _TOKEN_SIZE
        model.model.embed_tokens.weight[:, 0] = _CONSTANT_SIZE
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            for reads in (attention.q_proj, attention.k_proj, attention.v_proj):
                reads.weight[:, 0] = 0
            for reads in (mlp.gate_proj, mlp.up_proj):
                reads.weight[:, 0] = 0
            attention.o_proj.weight[0] = 0
            mlp.down_proj.weight[0] = 0
        model.lm_head.weight *= _SPREAD
        model.lm_head.weight[:, 0] = torch.tensor(log_shares) / _CONSTANT_AFTER_NORM


def _log_shares(tokenizer: Tokenizer, texts: list[str]) -> list[float]:
    """Returns the log of how often each token stands in the texts, by token id."""
    counts = Counter(token for text in texts for token in tokenizer.encode(text).ids)
    total = counts.total()
    shares = [max(counts[i] / total, _RARE) for i in range(tokenizer.get_vocab_size())]
    shares[tokenizer.token_to_id(_END)] = _END_SHARE
    return [math.log(share) for share in shares]
