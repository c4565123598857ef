"""Sizes of small models, and conversations to pack."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from sllm_data.trainer.batch import PackedBatch, PackedText
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.model.config import (
    ConnectorConfig,
)

VOCABULARY = 64
MELS = 80
_SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLMS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**_SIZE, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**_SIZE),
    "qwen3": Qwen3Config(**_SIZE, head_dim=16),
    "mistral": MistralConfig(**_SIZE, sliding_window=7),
}


@dataclass(frozen=True)
class Talk:
    """A conversation: tokens (n,) and frames (f, mels) in turn, then an answer (k,)."""

    pieces: tuple[Tensor, ...]
    answer: Tensor


def talks(seed: int, shapes: Sequence[tuple[int, ...]]) -> list[Talk]:
    """Returns conversations by shape: -n is n frames, n is n tokens, the last is the answer."""
    chance = torch.Generator().manual_seed(seed)
    made = []
    for shape in shapes:
        pieces = [
            torch.randn(-size, MELS, generator=chance) * 0.5
            if size < 0
            else torch.randint(3, VOCABULARY, (size,), generator=chance)
            for size in shape
        ]
        made.append(Talk(tuple(pieces[:-1]), pieces[-1]))
    return made


def pack(made: Sequence[Talk], geometry: AudioGeometry) -> PackedBatch:
    """Packs conversations; in the twin 3 tokens stand for each clip."""
    heard = [[_heard(piece, geometry) for piece in talk.pieces] for talk in made]
    read = [[_read(piece) for piece in talk.pieces] for talk in made]
    clips = [piece for talk in made for piece in talk.pieces if piece.dim() == 2]
    text = _text(heard, made)
    is_audio = torch.cat(
        [
            torch.full((len(ids),), fill_value=piece.dim() == 2)
            for talk, pieces in zip(made, heard, strict=True)
            for piece, ids in zip((*talk.pieces, talk.answer), (*pieces, talk.answer), strict=True)
        ]
    )
    frames = [len(clip) for clip in clips]
    return PackedBatch(
        text=text,
        audio_positions=is_audio.nonzero()[:, 0],
        features=torch.cat([torch.zeros(0, MELS), *clips]),
        clip_frames=torch.tensor(frames, dtype=torch.int32),
        clip_positions=torch.tensor(
            [geometry.num_positions(count) for count in frames], dtype=torch.int32
        ),
        twin=_text(read, made),
    )


def _heard(piece: Tensor, geometry: AudioGeometry) -> Tensor:
    if piece.dim() == 1:
        return piece
    return torch.zeros(geometry.num_positions(len(piece)), dtype=torch.int64)


def _read(piece: Tensor) -> Tensor:
    return piece if piece.dim() == 1 else torch.tensor([5, 6, 3 + len(piece) % 40])


def _text(sides: Sequence[Sequence[Tensor]], made: Sequence[Talk]) -> PackedText:
    rows = [torch.cat([*side, talk.answer]) for side, talk in zip(sides, made, strict=True)]
    ends = torch.tensor([len(row) for row in rows]).cumsum(0)
    return PackedText(
        token_ids=torch.cat(rows),
        position_ids=torch.cat([torch.arange(len(row)) for row in rows]),
        lengths=torch.tensor([len(row) for row in rows], dtype=torch.int32),
        label_positions=torch.cat(
            [
                torch.arange(int(end) - len(talk.answer), int(end)) - 1
                for end, talk in zip(ends, made, strict=True)
            ]
        ),
        labels=torch.cat([talk.answer for talk in made]),
    )


CONNECTORS = {
    "window_qformer": ConnectorConfig(hidden_size=16, heads=2, layers=2, queries=2),
    "mlp": ConnectorConfig(kind="mlp", hidden_size=32),
    "layer_mix_qformer": ConnectorConfig(
        kind="layer_mix_qformer", hidden_size=16, heads=2, layers=1, queries=2, window_seconds=0.2
    ),
}
