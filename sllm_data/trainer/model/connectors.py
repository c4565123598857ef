"""What turns states of the encoder (20 ms) into positions of the LLM.

All three cut a clip into windows of a constant number of positions. The last one may be short;
what it lacks is masked, or zero for the mlp. A window never reaches into the next clip, so a
clip gives the same in a pack and alone, and as many positions as geometry counts.

    clip      e e e e e e e e e e e e e e e e e e e e e . . .      20 positions, windows of 8
              [ window 1    ] [ window 2    ] [ window 3  - -]
    LLM             a               a               a              one query each

    window_qformer      learnt queries read one window each (SALMONN)
    mlp                 a window side by side as one long vector (Ultravox); the names of the
                        weights are those that vLLM's UltravoxModel reads
    layer_mix_qformer   queries of each tapped layer read its windows; what they found is mixed by
                        learnt weights (DeSTA)

What comes out begins at the scale of the LLM's own embeddings. A decoder adds what its layers
find to what came in; states ten times as large as a word would drown that, and states ten times
smaller would all look alike behind the first norm.

This file is copied into what is exported, so that both compute the same: it needs torch alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention, silu

_INIT_STD = 0.02  # of queries, as BERT has it: what is read shall weigh more
_PLACE_STD = 0.5  # half of what a state has behind its norm: which comes first is heard at once
_EPSILON = 1e-6  # of vLLM's RMSNorm
_ULTRAVOX_NORM = 0.4  # what Ultravox's norms begin with


@dataclass(frozen=True, kw_only=True)
class ConnectorShape:
    """A connector's kind and sizes, the models it stands between included."""

    kind: str
    """window_qformer, mlp or layer_mix_qformer."""
    window: int
    """Positions of the encoder that `queries` positions of the LLM are made from."""
    queries: int = 1
    hidden_size: int
    layers: int = 1
    """Of a Q-Former, as the heads."""
    heads: int = 1
    taps: int = 1
    """How many layers of the encoder are read."""
    encoder_width: int
    """Of a state."""
    llm_width: int
    """Of a position of the LLM."""


class Connector(Protocol):
    """States of clips -> positions of the LLM."""

    def __call__(self, states: Tensor, lengths: Sequence[int]) -> Tensor:
        """Reads windows.

        Args:
            states: Shape (taps, T, width of the encoder), clips one behind the other.
            lengths: Positions of each clip; their sum is T.

        Returns:
            Shape (A, width of the LLM).
        """
        ...


def windows_of(lengths: Sequence[int], window: int) -> tuple[Tensor, Tensor]:
    """Returns the places of each window and which of them are inside its clip.

    Returns:
        int64 (windows, window) and bool of the same shape. A place outside is that of the
        clip's last position, so that it can be read.

    >>> places, inside = windows_of([3, 1], 2)
    >>> places.tolist(), inside.tolist()
    ([[0, 1], [2, 2], [3, 3]], [[True, True], [True, False], [True, False]])
    """
    sizes = torch.tensor(lengths, dtype=torch.int64)
    counts = -(-sizes // window)
    ends = sizes.cumsum(0).repeat_interleave(counts)
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    starts = (ends - sizes.repeat_interleave(counts)) + window * (
        torch.arange(int(counts.sum())) - first
    )
    places = starts[:, None] + torch.arange(window)
    return places.minimum(ends[:, None] - 1), places < ends[:, None]


class StackedMLP(nn.Module):  # type: ignore[misc]  # torch's types are not read
    """Ultravox's projector of version 0.5 and later: a norm in the middle.

    Args:
        shape: Sizes.
        scale: Root mean square of what shall come out at first.
    """

    def __init__(self, shape: ConnectorShape, *, scale: float) -> None:
        super().__init__()
        self.window = shape.window
        middle = shape.hidden_size // 2
        stacked = shape.encoder_width * shape.window
        self.ln_pre = nn.RMSNorm(stacked, eps=_EPSILON)
        self.linear_1 = nn.Linear(stacked, shape.hidden_size, bias=False)
        self.ln_mid = nn.RMSNorm(middle, eps=_EPSILON)
        self.linear_2 = nn.Linear(middle, shape.llm_width, bias=False)
        for norm in (self.ln_pre, self.ln_mid):
            nn.init.constant_(norm.weight, _ULTRAVOX_NORM)
        nn.init.normal_(self.linear_2.weight, std=scale / _ULTRAVOX_NORM / middle**0.5)

    def forward(self, states: Tensor, lengths: Sequence[int]) -> Tensor:
        """See Connector."""
        places, inside = windows_of(lengths, self.window)
        stacked = states[0][places.to(states.device)] * inside.to(states.device)[..., None]
        wide = self.linear_1(self.ln_pre(stacked.flatten(1)))
        value, gate = wide.chunk(2, dim=-1)
        # float32 in training; an exported model may be all of 16 bits
        gated = (value * silu(gate)).to(self.ln_mid.weight.dtype)
        found: Tensor = self.linear_2(self.ln_mid(gated))
        return found


class WindowQFormer(nn.Module):  # type: ignore[misc]  # torch's types are not read
    """Queries that read one window each, of one or several layers of the encoder.

    Where in its window a state stands is added to it: a window holds several sounds, and
    attention alone would read them in no order.

    Args:
        shape: Sizes.
        scale: Root mean square of what shall come out at first.
    """

    def __init__(self, shape: ConnectorShape, *, scale: float) -> None:
        super().__init__()
        self.window = shape.window
        width, taps = shape.hidden_size, shape.taps
        self.read_norms = nn.ModuleList(nn.LayerNorm(shape.encoder_width) for _ in range(taps))
        self.places = nn.Parameter(torch.randn(shape.window, shape.encoder_width) * _PLACE_STD)
        self.queries = nn.Parameter(torch.randn(taps, shape.queries, width) * _INIT_STD)
        self.layers = nn.ModuleList(
            _QFormerLayer(width, shape.encoder_width, shape.heads) for _ in range(shape.layers)
        )
        self.mix = nn.Parameter(torch.zeros(taps, shape.queries)) if taps > 1 else None
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, shape.llm_width)
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                # a width of its own: BERT's 0.02 is that of 768, and narrow ones would hear little
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.out.weight, std=scale / width**0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor, lengths: Sequence[int]) -> Tensor:
        """See Connector."""
        places, inside = (part.to(states.device) for part in windows_of(lengths, self.window))
        read = (
            torch.stack(
                [norm(tap)[places] for norm, tap in zip(self.read_norms, states, strict=True)]
            )
            + self.places
        )  # (taps, windows, window, width of the encoder)
        taps, windows = read.shape[:2]
        mask = inside.repeat(taps, 1)
        found = self.queries[:, None].expand(-1, windows, -1, -1).flatten(0, 1)
        for layer in self.layers:
            found = layer(found, read.flatten(0, 1), mask)
        found = found.unflatten(0, (taps, windows))
        if self.mix is not None:
            found = (found * self.mix.softmax(dim=0)[:, None, :, None]).sum(dim=0)
        answered: Tensor = self.out(self.norm(found.flatten(0, -2)))
        return answered


class _QFormerLayer(nn.Module):  # type: ignore[misc]  # torch's types are not read
    """Queries of a window look at one another, then at their window, then think."""

    def __init__(self, width: int, read_width: int, heads: int) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = _Attention(width, width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = _Attention(width, read_width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, queries: Tensor, read: Tensor, inside: Tensor) -> Tensor:
        normed = self.self_norm(queries)
        queries = queries + self.self_attention(normed, normed, None)
        queries = queries + self.cross_attention(
            self.cross_norm(queries), read, inside[:, None, None]
        )
        thought: Tensor = self.narrow(gelu(self.wide(self.mlp_norm(queries))))
        return queries + thought


class _Attention(nn.Module):  # type: ignore[misc]  # torch's types are not read
    def __init__(self, width: int, read_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(read_width, width)
        self.value = nn.Linear(read_width, width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, read: Tensor, mask: Tensor | None) -> Tensor:
        heads = [
            states.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for states in (self.query(queries), self.key(read), self.value(read))
        ]
        attended = scaled_dot_product_attention(*heads, mask)
        found: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return found


def new_connector(shape: ConnectorShape, *, scale: float) -> StackedMLP | WindowQFormer:
    """Returns a connector whose weights are drawn from torch's generator.

    Args:
        shape: Which one, and its sizes.
        scale: Root mean square of the LLM's embeddings.
    """
    made = StackedMLP if shape.kind == "mlp" else WindowQFormer
    return made(shape, scale=scale)
