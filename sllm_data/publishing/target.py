"""The seam between publishing and where a dataset goes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sllm_data.publishing.contents import Item

Sent = Callable[[Item], None]
"""Told of each file that arrived."""


@dataclass(frozen=True, kw_only=True, slots=True)
class There:
    """A file at the target."""

    size: int
    sha256: str | None = None
    """Where the target tells it in a listing."""
    git_oid: str | None = None
    """The hub tells this one of small files: SHA-1 over a header and the content."""


class Target(Protocol):
    """Where a dataset goes; nothing is there under its name before it is whole."""

    url: str
    """As shown in messages."""

    def open(self) -> None:
        """Makes it, where it is not there, or sees that it can be used."""
        ...

    def there(self) -> Mapping[str, There]:
        """All files at the target but for those that its storage or a run keeps for itself."""
        ...

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The content of a small file."""
        ...

    def is_same(self, item: Item, there: There) -> bool:
        """Whether a file at the target has the content of an item, which has its size."""
        ...

    def send(self, items: Sequence[Item], *, remove: Sequence[str], sent: Sent) -> None:
        """Sends files, then removes others; returns when readers see both.

        Those of one call may arrive in any order, or all at once.
        """
        ...
