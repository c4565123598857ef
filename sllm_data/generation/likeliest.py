"""The likeliest tokens at each place of an answer, as vLLM and as its server tell them.

Both also tell the token that was sampled, which need not be among the k likeliest: it is left
out where it is not, so that each place has k tokens and the rest of the probability is known
to be outside of them. vLLM takes the log probabilities from the model's own logits, before
temperature, top_p and top_k.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Places = tuple[tuple[tuple[int, ...], ...], tuple[tuple[float, ...], ...]]
"""Token ids and log probabilities: a tuple for each place, likeliest first."""

_NAMED = re.compile(r"token_id:(0|[1-9][0-9]{0,8})")


def from_vllm(flat: Any) -> Places:  # Any: vLLM's FlatLogprobs
    """Reads vLLM's flat form: at each place the sampled token, then the likeliest, sorted."""
    places = [
        slice(start + 1, end)
        for start, end in zip(flat.start_indices, flat.end_indices, strict=True)
    ]
    return (
        tuple(tuple(flat.token_ids[place]) for place in places),
        tuple(tuple(flat.logprobs[place]) for place in places),
    )


def from_server(
    told: Sequence[Mapping[str, float] | None] | None, *, count: int, num_tokens: int
) -> Places:
    """Reads `logprobs.top_logprobs` of /completions, with tokens as `token_id:5`.

    Args:
        told: For each token of the answer, log probabilities by token, in any order.
        count: How many are wanted of each place.
        num_tokens: Of the answer.

    Raises:
        ValueError: They are not what was asked for.
    """
    if told is None or len(told) != num_tokens:
        found = "none" if told is None else f"those of {len(told)} places"
        raise ValueError(
            f"it must tell the likeliest tokens of each of {num_tokens} places, it told {found}"
        )
    places = [_place(each, count) for each in told]
    return (
        tuple(tuple(token_id for token_id, _ in place) for place in places),
        tuple(tuple(logprob for _, logprob in place) for place in places),
    )


def _place(told: Mapping[str, float] | None, count: int) -> list[tuple[int, float]]:
    found = sorted((told or {}).items(), key=lambda pair: -pair[1])[:count]
    if len(found) < count:
        raise ValueError(f"it must tell {count} tokens of each place, it told {len(found)}")
    if found[0][1] > 0:
        raise ValueError(f"log probabilities must be at most 0, got {found[0][1]:g}")
    return [(_id_of(token), logprob) for token, logprob in found]


def _id_of(token: str) -> int:
    named = _NAMED.fullmatch(token)
    if named is None:
        raise ValueError(
            f"it must name tokens by their ids (token_id:5), as vLLM's server does, got {token!r}"
        )
    return int(named[1])
