"""Attention that stays inside each segment of a pack: a conversation, or a chunk of a clip.

It is a function that transformers calls in every layer (its AttentionInterface), so it serves
any of its models. Three kernels compute the same:

    flash   FlashAttention over lengths: the package flash_attn, else what torch has of it
    flex    FlexAttention with a mask of blocks, compiled on a GPU
    sdpa    torch's attention, segment after segment

On the CPU segment after segment is faster than a mask over the whole pack, forward and back on
one core: 17 times for 24 segments of 85 positions (6 heads of 32), 4 times for 3 of 680. Nothing
is computed that is thrown away.

Without `segments` it is transformers' own sdpa: that is how answers are generated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sllm_data.errors import ModelError

PACKED = "sllm_packed"
"""The name of this attention in a model's configuration."""

Kernel = Literal["flash", "flex", "sdpa"]

_UNKNOWN = ("softcap", "s_aux", "position_bias")  # what some models add to attention
_LEAST_CAPABILITY = (8, 0)  # of a GPU that FlashAttention runs on


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """Where attention stays: positions [0, a), [a, a + b), ... of one packed sequence."""

    lengths: tuple[int, ...]
    """1 or more each; their sum is the length of the pack."""
    borders: Tensor
    """int32 (segments + 1,): where each begins, and the end; on the device of the pack."""
    causal: bool
    """Whether a position sees only what stands before it, and itself."""
    kernel: Kernel
    _masks: dict[int | None, BlockMask] = field(default_factory=dict)

    @property
    def longest(self) -> int:
        """Positions of the longest segment."""
        return max(self.lengths)

    def block_mask(self, window: int | None) -> BlockMask:
        """Returns FlexAttention's mask; it is made once for all layers with that window."""
        if window not in self._masks:
            self._masks[window] = _block_mask(self, window)
        return self._masks[window]


def segments_of(
    lengths: Sequence[int], *, causal: bool, kernel: Kernel, device: torch.device
) -> Segments:
    """Returns the segments of a pack from their lengths."""
    borders = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32).to(device)
    return Segments(lengths=tuple(lengths), borders=borders, causal=causal, kernel=kernel)


def choose_kernel(wanted: str, *, device: torch.device, dtype: torch.dtype) -> Kernel:
    """Returns the kernel that computes attention.

    Args:
        wanted: auto, flash, flex or sdpa.
        device: Where the model is.
        dtype: What it computes in.

    Raises:
        ModelError: What is asked for can't run there.
    """
    on_gpu = device.type == "cuda"
    can_flash = (
        on_gpu
        and dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY
    )
    match wanted:
        case "flash" if not can_flash:
            raise ModelError(
                "attention must be auto, flex or sdpa here: flash needs a GPU of compute "
                f"capability 8.0 and 16 bits, found {device.type} and {dtype}"
            )
        case "flex" if not on_gpu:
            raise ModelError(
                f"attention must be auto or sdpa here: flex needs a GPU, found {device.type}"
            )
        case "flash" | "flex" | "sdpa":
            return wanted
    if not on_gpu:
        return "sdpa"
    return "flash" if can_flash else "flex"


def use_packed_attention(model: PreTrainedModel) -> None:
    """Makes a model of transformers call `packed_attention` in every layer.

    Raises:
        ModelError: The model computes its attention in a way of its own.
    """
    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
    if model._can_set_attn_implementation():  # noqa: SLF001 - else it only warns
        model.set_attn_implementation(PACKED)
    if model.config._attn_implementation != PACKED:  # noqa: SLF001 - its only name
        raise ModelError(
            f"the model must let its attention be replaced, {type(model).__name__} does not; "
            "choose one of another architecture"
        )


def no_mask(like: Tensor) -> Tensor:
    """Returns what keeps a model of transformers from making a mask of the whole pack.

    It takes whatever has four dimensions for a finished mask; packed attention reads it not.
    """
    return like.new_empty(1, 1, 0, 0)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: Segments | None = None,
    **options: Any,  # Any: whatever a model of transformers hands to its attention
) -> tuple[Tensor, None]:
    """Attends inside each segment; without segments, as transformers' sdpa.

    Args:
        module: The layer that calls it.
        query: Shape (1, heads, P, size).
        key: Shape (1, key_heads, P, size); heads is a multiple of key_heads.
        value: As key.
        attention_mask: Read only where there are no segments.
        segments: Of the pack.
        options: scaling, and sliding_window where the layer has one.

    Returns:
        Shape (1, P, heads, size), and None: it keeps no weights.

    Raises:
        ModelError: The model adds to its attention what is not known here.
    """
    if segments is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return found
    for name in _UNKNOWN:
        if options.get(name) is not None:
            raise ModelError(
                f"the model's attention must be plain, {type(module).__name__} adds {name}; "
                "choose one of another architecture"
            )
    # Rotary tables may be wider than what the layer computes in; all three kernels want one type.
    query, key = query.to(value.dtype), key.to(value.dtype)
    attend = {"flash": _flash, "flex": _flex, "sdpa": _sdpa}[segments.kernel]
    window = options.get("sliding_window")
    if window is not None and window >= segments.longest:
        window = None
    return attend(query, key, value, segments, options.get("scaling"), window), None


def _sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, dim=1)
        value = value.repeat_interleave(groups, dim=1)
    parts = zip(
        *(states.split(segments.lengths, dim=2) for states in (query, key, value)), strict=True
    )
    attended = []
    for q, k, v in parts:
        mask = None
        if window is not None and q.shape[2] > window:
            mask = _near(q.shape[2], window, causal=segments.causal, device=q.device)
        causal = segments.causal and mask is None
        attended.append(
            scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scaling)
        )
    return torch.cat(attended, dim=2).transpose(1, 2)


def _near(length: int, window: int, *, causal: bool, device: torch.device) -> Tensor:
    places = torch.arange(length, device=device)
    behind = places[:, None] - places
    return (behind < window) & (behind >= (0 if causal else 1 - window))


def _flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    left = -1 if window is None else window - 1
    right = 0 if segments.causal else left
    states = [states[0].transpose(0, 1) for states in (query, key, value)]
    lengths = (segments.borders, segments.borders, segments.longest, segments.longest)
    if find_spec("flash_attn") is not None:
        # need not be installed
        from flash_attn import (  # type: ignore[import-not-found]  # noqa: PLC0415
            flash_attn_varlen_func,
        )

        attended = flash_attn_varlen_func(
            *states,
            *lengths,
            softmax_scale=scaling,
            causal=segments.causal,
            window_size=(left, right),
        )
    else:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - new in torch 2.10

        attended = varlen_attn(
            *states,
            *lengths,
            scale=scaling,
            window_size=(left, right),
            enable_gqa=query.shape[1] != key.shape[1],
        )
    batched: Tensor = attended[None]
    return batched


def _flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    attend = _compiled_flex() if query.is_cuda else flex_attention
    attended: Tensor = attend(
        query,
        key,
        value,
        block_mask=segments.block_mask(window),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return attended.transpose(1, 2)


@cache
def _compiled_flex() -> Any:  # Any: torch.compile's own
    return torch.compile(flex_attention)


def _block_mask(segments: Segments, window: int | None) -> BlockMask:
    lengths = torch.tensor(segments.lengths)
    numbers = torch.arange(len(lengths)).repeat_interleave(lengths).to(segments.borders.device)

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = numbers[query] == numbers[key]
        if segments.causal:
            seen = seen & (query >= key)
        if window is not None:
            seen = seen & ((query - key).abs() < window)
        return seen

    size = len(numbers)
    return create_block_mask(
        sees, None, None, size, size, device=numbers.device, _compile=numbers.is_cuda
    )
