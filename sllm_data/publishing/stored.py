"""A folder as the target: in object storage, or on this disk."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from sllm_data.errors import StorageError
from sllm_data.publishing.contents import Item
from sllm_data.publishing.target import Sent, There
from sllm_data.storage.store import Store, is_url

_THREADS = 4


class StoredTarget:
    """A folder by its URL or path."""

    def __init__(self, place: str, *, patience_s: float) -> None:
        self.url = place
        self._location = place if is_url(place) else f"file://{os.path.abspath(place)}"  # noqa: PTH100 - ../x is a place, too
        self._patience_s = patience_s
        self._opened: Store | None = None

    @property
    def _store(self) -> Store:
        if self._opened is None:
            self._opened = Store.open(self._location, patience_s=self._patience_s)
        return self._opened

    def open(self) -> None:
        """Sees that it can be reached; a folder is made with the first file."""
        self._store.entry("run.yaml")

    def there(self) -> Mapping[str, There]:
        """All files below it, but for those whose names begin with a dot."""
        return {
            name: There(size=entry.size, sha256=entry.sha256)
            for name, entry in self._store.entries().items()
            if not any(part.startswith(".") for part in name.split("/"))
        }

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The content of a small file."""
        content = self._store.read(name, max_bytes=max_bytes)
        if content is None:
            raise StorageError(
                f"{self.url}/{name}: must stay while a dataset is published, it went"
            )
        return content

    def is_same(self, item: Item, there: There) -> bool:
        """By the digest that stands beside it, else by its content, which is read."""
        return there.size == item.size and self._store.digest(item.name) == item.sha256

    def send(self, items: Sequence[Item], *, remove: Sequence[str], sent: Sent) -> None:
        """Sends some at a time, then removes."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="publish") as threads:
            try:
                running = {threads.submit(self._store.put, i.path, i.name): i for i in items}
                for done in as_completed(running):
                    done.result()
                    sent(running[done])
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        for name in remove:
            self._store.remove(name)
