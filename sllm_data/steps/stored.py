"""Places by URL, as a run uses them: what is read is fetched, what is written is sent.

A step sees folders of this disk only (`storage.places`). A run holds the lock of its folder
here, and the lease of the folder in the storage, for as long as it writes.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sllm_data.config import RunConfig
from sllm_data.corpora.config import ManifestConfig
from sllm_data.errors import ConfigError, OutputError, StorageError
from sllm_data.files import LockedError, output_lock
from sllm_data.steps.progress import Progress
from sllm_data.storage.config import StorageConfig
from sllm_data.storage.places import shown, url_of

if TYPE_CHECKING:  # a storage's library takes most of a second
    from sllm_data.storage.mirror import Mirror
    from sllm_data.storage.store import Store

_LOG = logging.getLogger(__name__)
_DEFAULT = StorageConfig()
_FETCH = ".fetch"  # whose lock is held while a copy is fetched


@contextmanager
def held_output(config: RunConfig, progress: Progress) -> "Iterator[Mirror | None]":
    """Holds a run's output for the length of a block; yields its copy where it has a URL.

    The copy is made the same as the storage before, and the storage the same as the copy after:
    also where the block fails, so that another machine goes on from there.

    Raises:
        OutputError: Another run holds it, here or on another machine, or it can't be written.
        StorageError: The storage can't be reached.
    """
    url = url_of(config.output)
    with ExitStack() as stack:
        if url is None:
            stack.enter_context(output_lock(config.output))
            yield None
            return
        with output_lock(config.output / _FETCH, wait=True):  # one that fetches it soon ends
            stack.enter_context(output_lock(config.output))
        from sllm_data.storage.lease import leased  # noqa: PLC0415 - as above
        from sllm_data.storage.mirror import Mirror  # noqa: PLC0415
        from sllm_data.storage.store import Store  # noqa: PLC0415

        store = Store.open(url, patience_s=config.storage.patience_s)
        lease = stack.enter_context(leased(store))
        mirror = stack.enter_context(Mirror(config.output, store, lease=lease))
        with _bars(progress, "settle") as begin:
            mirror.settle(begin)
        try:
            yield mirror
        except StorageError:
            raise
        except BaseException:
            try:
                mirror.send_changed()
            except (OutputError, StorageError) as error:  # the one on its way out counts
                _LOG.warning("not all was sent, the next run sends it: %s", error)
            raise
        mirror.send_changed()


def fetch(
    place: Path,
    progress: Progress,
    storage: StorageConfig = _DEFAULT,
    *,
    may_be_new: bool = False,
) -> None:
    """Fetches a place of which this disk has a copy; any other is left alone.

    Two that fetch the same wait for each other. A copy that a run on this machine is writing is
    taken as it is.

    Args:
        place: The path on this disk.
        progress: Shows a bar.
        storage: How long a storage is asked again.
        may_be_new: Whether it is no error that nothing is there.

    Raises:
        StorageError: There is nothing, or the storage can't be reached.
        OutputError: The copy can't be written.
    """
    url = url_of(place)
    if url is None:
        return
    from sllm_data.storage.store import Store  # noqa: PLC0415 - as above

    store = Store.open(url, patience_s=storage.patience_s)
    if place.is_dir() or store.entries():
        _pull(place, store, progress)
    elif (above := _parent_of(url)) is not None:
        store = Store.open(above, patience_s=storage.patience_s)
        if store.entry(place.name) is not None:
            _pull(place.parent, store, progress, only=place.name)
            return
    if not may_be_new and (not place.is_dir() or _is_empty(place)):
        raise StorageError(f"{url}: must hold something, found nothing; check the URL")


def _parent_of(url: str) -> str | None:
    """The folder above, None for a bucket or a repository."""
    above, _, _ = url.rpartition("/")
    protocol, _, rest = above.partition("://")
    least = 3 if protocol == "hf" else 1  # hf://datasets/owner/name
    return above if rest and len(rest.split("/")) >= least else None


def _is_empty(folder: Path) -> bool:
    return all(path.name.startswith(".") for path in folder.iterdir())


def _pull(folder: Path, store: "Store", progress: Progress, *, only: str | None = None) -> None:
    from sllm_data.storage.mirror import Mirror  # noqa: PLC0415 - as above

    with output_lock(folder / _FETCH, wait=True):
        try:
            lock = _lock_of(folder)
        except LockedError:
            return  # of a run: it has what there is, and more
        with lock, Mirror(folder, store) as mirror, _bars(progress, "fetch") as begin:
            mirror.pull(begin, only=only)


def _lock_of(folder: Path) -> ExitStack:
    """Takes the lock of a copy; whoever gets it closes it."""
    with ExitStack() as stack:
        stack.enter_context(output_lock(folder))
        return stack.pop_all()


def fetch_corpora(config: RunConfig, progress: Progress) -> None:
    """Fetches the corpora that have a URL.

    Raises:
        ConfigError: The output lies in one of them.
        StorageError: As `fetch`.
    """
    for corpus in config.corpora:
        places = [corpus.path]
        if isinstance(corpus, ManifestConfig):
            places.append(corpus.audio_root or corpus.path.parent)
        for place in places:
            if url_of(place) is not None and config.output.is_relative_to(place):
                raise ConfigError(
                    f"output: must not lie in {shown(place)}, which is fetched as a corpus; "
                    "choose another folder for one of them"
                )
            fetch(place, progress, config.storage)


def fetch_others(config: RunConfig, progress: Progress) -> None:
    """Fetches what else a run reads by URL: older datasets, pools, word times.

    Raises:
        StorageError: As `fetch`.
    """
    named = (config.alignment.files, config.backbone.chat_template)
    for place in (*config.reuse, *config.prompts.pools, *filter(None, named)):
        fetch(place, progress, config.storage)


@contextmanager
def _bars(progress: Progress, name: str) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Bars that begin when it is known how many files there are."""
    with ExitStack() as stack:

        def begin(total: int) -> Callable[[int], None]:
            if not total:
                return lambda _: None
            return stack.enter_context(progress.bar(name, total)).advance

        yield begin
