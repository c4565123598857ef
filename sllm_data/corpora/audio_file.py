"""What a corpus hands over for one candidate: the bytes to store, or why there are none."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sllm_data.records import Reason

Unfit = tuple[Reason, str]
"""Why a candidate can't be used: the reason, and one line with what was expected and found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioFile:
    """One encoded clip, as it will stand in `audio/`."""

    content: bytes
    name: str
    """File name to store beside the bytes, without folders."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """What showed only when the audio was opened; added to the candidate's own."""
