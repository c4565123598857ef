"""A tiny chat model with random weights, which answers noise.

It is a real model folder, so that every engine runs with it as with any other. Its weights
are only made to lean towards frequent tokens and to end now and then, so that answers are
made of words and stop, as real ones do. Where answers shall make sense, take the trained
one (`assets`).
"""

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from sllm_data.testbed.backbone import END, LlamaSize, llama, save, trained_tokenizer
from sllm_data.testbed.sentences import LANGUAGES, sentences

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

_SIZE = LlamaSize(hidden=256, layers=4, heads=4, feed_forward=512, tied=False)
_VOCAB_SIZE = 1_024
_NUM_TEXTS = 1_000
_END_SHARE = 0.03  # of an answer's tokens
_TOKEN_SIZE = 16.0
_CONSTANT_SIZE = 30.0
_CONSTANT_AFTER_NORM = 14.0
_RARE = 1e-7  # the share of tokens that the texts do not hold
_SPREAD = 3.0


def write_random_backbone(folder: Path, *, seed: int = 0) -> None:
    """Writes a Llama of 4 layers and hidden size 256 with random weights, 16 MB.

    The same seed gives the same tokenizer and, for one version of torch, the same weights.
    Takes a few seconds, most of them the import of torch.

    Args:
        folder: The model folder; created, files in it are overwritten.
        seed: Chooses the weights and the sentences that the tokenizer is trained on.
    """
    texts = [text for language in LANGUAGES for text in sentences(language, _NUM_TEXTS, seed=seed)]
    tokenizer = trained_tokenizer(texts, vocab_size=_VOCAB_SIZE)
    model = llama(tokenizer, _SIZE, seed=seed)
    _lean(model, _log_shares(tokenizer, texts))
    save(folder, model, tokenizer)


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
    shares[tokenizer.token_to_id(END)] = _END_SHARE
    return [math.log(share) for share in shares]
