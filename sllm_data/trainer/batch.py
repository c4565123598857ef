"""What data hands to model: conversations packed one behind the other, with their clips.

    tokens      <s> user: [ a a a a a ] what is ...? assistant: rain </s> <s> user: ...
    positions    0   1    2 3 4 5 6 7   8               13      14        0   1
    labels                                       predicts 'rain' '</s>'

No row is padded: a pack is one sequence, attention stays inside each conversation, and
positions start anew with it. `a` is a position that the connector fills.

Shapes: P positions, C conversations, L labels, A positions of audio, K clips, F frames, M mels.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, device

_Value = TypeVar("_Value", "PackedText", "PackedBatch")


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedText:
    """Conversations as one sequence of tokens."""

    token_ids: "Tensor"
    """int64 (P,): 0 where audio stands."""
    position_ids: "Tensor"
    """int64 (P,): 0, 1, ... in each conversation."""
    lengths: "Tensor"
    """int32 (C,): positions of each conversation; their sum is P."""
    label_positions: "Tensor"
    """int64 (L,): where the state stands that predicts a label: one in front of its token;
    ascending."""
    labels: "Tensor"
    """int64 (L,): the tokens that are trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedBatch:
    """One pack: all that a step of the model needs."""

    text: PackedText
    """The side that hears."""
    audio_positions: "Tensor"
    """int64 (A,): positions of `text` that the connector fills, clip after clip; ascending."""
    features: "Tensor"
    """float32 (F, M): log-mel frames of all clips, one behind the other, without padding."""
    clip_frames: "Tensor"
    """int32 (K,): frames of each clip; their sum is F. A clip is one audio span of a row."""
    clip_positions: "Tensor"
    """int32 (K,): positions of each clip, as geometry says; their sum is A."""
    twin: PackedText | None = None
    """The side that reads: as many conversations with the same labels in the same order."""
    sample_ids: tuple[str, ...] = ()
    """One for each conversation."""
    audio_seconds: float = 0.0
    """Of all clips."""

    def to(self, where: "device | str") -> "PackedBatch":
        """Returns it on another device; copies don't block where memory is pinned.

        Lengths stay where they are: they are read by the CPU, which would wait for the GPU.
        """
        return _each(self, lambda tensor: tensor.to(where, non_blocking=True), but=_LENGTHS)

    def pin_memory(self) -> "PackedBatch":
        """Returns it in memory from which a GPU can copy by itself."""
        return _each(self, lambda tensor: tensor.pin_memory())


_LENGTHS = frozenset({"lengths", "clip_frames", "clip_positions"})


def _each(
    value: _Value, change: Callable[["Tensor"], "Tensor"], *, but: Collection[str] = ()
) -> _Value:
    changed: dict[str, Any] = {}  # Any: of the types that the fields had
    for field in fields(value):
        inner = getattr(value, field.name)
        if isinstance(inner, PackedText):
            changed[field.name] = _each(inner, change, but=but)
        elif field.name not in but and hasattr(
            inner, "dim"
        ):  # a tensor; its class would take seconds to import
            changed[field.name] = change(inner)
    return replace(value, **changed)
