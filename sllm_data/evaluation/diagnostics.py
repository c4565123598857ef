"""What was seen inside a model, from what was saved of it: figures as JSON, and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sllm_data.evaluation.attended import Attended, AttentionShares, attention_shares
from sllm_data.evaluation.paired import PairedStates
from sllm_data.evaluation.plots import as_png, new_figure

_SHARES = {
    "share": "of attention",
    "share_by_length": "of attention, by length",
    "saliency_share": "of saliency",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostics:
    """What was found in a model."""

    attention: Mapping[str, AttentionShares]
    """By side: speech, text, backbone."""
    similarity: Sequence[float | None]
    """CKA of speech and text: in front of the first layer and behind each."""
    plots: Mapping[str, bytes]
    """PNG files by name."""

    def as_json(self) -> dict[str, Any]:  # Any: JSON document
        """Returns attention and similarity as plain values."""
        return {
            "attention": {
                side: {
                    name: value.tolist() if isinstance(value, np.ndarray) else value
                    for name, value in asdict(shares).items()
                }
                for side, shares in self.attention.items()
            },
            "cka": list(self.similarity),
        }


def diagnostics_of(
    attended: Sequence[Attended], states: PairedStates, *, seed: int
) -> Diagnostics:
    """Returns the figures and pictures of rows that were looked into.

    Args:
        attended: Each row on each side.
        states: Of their clips.
        seed: Of the map.
    """
    attention = attention_shares(attended)
    similarity = states.similarity()
    plots = {
        "attention": _attention_plot(attention),
        "cka": _similarity_plot(similarity),
        "states": map_plot(states, seed),
    }
    return Diagnostics(
        attention=attention,
        similarity=similarity,
        plots={name: content for name, content in plots.items() if content is not None},
    )


def _attention_plot(attention: Mapping[str, AttentionShares]) -> bytes:
    figure, panels = new_figure(height=3.0, width=9.0, columns=len(_SHARES))
    for axes, (name, title) in zip(panels, _SHARES.items(), strict=True):
        for side, shares in attention.items():
            values = getattr(shares, name)
            axes.plot(range(1, len(values) + 1), values, marker=".", label=side)
        axes.set_ylim(0, 1)
        axes.set_xlabel("layer", fontsize=8)
        axes.set_title(f"instruction's share\n{title}", loc="left", fontsize=9)
    panels[0].legend(fontsize=8, frameon=False)
    return as_png(figure)


def _similarity_plot(similarity: Sequence[float | None]) -> bytes | None:
    found = [(layer, value) for layer, value in enumerate(similarity) if value is not None]
    if not found:
        return None
    figure, (axes,) = new_figure(height=3.0, width=5.0)
    axes.plot(*zip(*found, strict=True), marker=".")
    axes.set_ylim(min(0.0, *(value for _, value in found)), 1.05)
    axes.set_xlabel("layer", fontsize=8)
    axes.set_title("speech and text: CKA", loc="left", fontsize=10)
    return as_png(figure)


def map_plot(states: PairedStates, seed: int) -> bytes | None:
    """Draws speech and text of each clip on one map by layer; None for a few clips."""
    last = len(states.speech) - 1
    layers = sorted({0, last // 2, last})
    figure, panels = new_figure(height=3.4, width=9.0, columns=len(layers))
    for axes, layer in zip(panels, layers, strict=True):
        both = states.map(layer, seed=seed)
        if both is None:
            return None
        for pair in zip(*both, strict=True):
            axes.plot(*np.transpose(pair), color="#8888", linewidth=0.5, zorder=1)
        for name, points in zip(("speech", "text"), both, strict=True):
            axes.scatter(points[:, 0], points[:, 1], s=8, label=name, zorder=2)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"t-SNE, layer {layer}", loc="left", fontsize=9)
    panels[0].legend(fontsize=8, frameon=False)
    return as_png(figure)
