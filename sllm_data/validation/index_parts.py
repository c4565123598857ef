"""What the index manifest says of its parts: whose audio each one is about."""

from collections.abc import Mapping
from dataclasses import dataclass

from sllm_data.shards import Manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexPart:
    """One part of the index; requests, responses and samples of its number come from it."""

    number: int
    audio_part: int
    growth: bool
    """Whether it gives new tasks to audio that an older part is about already."""


def index_parts(manifests: Mapping[str, Manifest]) -> tuple[IndexPart, ...]:
    """Returns the parts of the index by number; none where it is not finished."""
    index = manifests.get("index")
    pairs = index.extra.items() if index else ()
    seen: set[int] = set()
    found = []
    for number, audio_part in sorted((int(number), int(audio)) for number, audio in pairs):
        found.append(IndexPart(number=number, audio_part=audio_part, growth=audio_part in seen))
        seen.add(audio_part)
    return tuple(found)


def growth_numbers(manifests: Mapping[str, Manifest]) -> frozenset[int]:
    """Returns the numbers of the parts that repeat the clips of older ones."""
    return frozenset(part.number for part in index_parts(manifests) if part.growth)
