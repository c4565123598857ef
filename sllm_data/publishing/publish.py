"""publish: checks a dataset, sends what is not there yet, and checks the target.

    1  no run writes the dataset, it is finished, and validate finds no error at level 1
    2  what stands at the target belongs to an earlier publish of this dataset, or nothing does
    3  run.yaml, then parts; where one replaces another, the manifests there go before
    4  cards, then manifests, then what is gone from the dataset is removed
    5  names, sizes and digests at the target are compared

Killed anywhere, the same command goes on: files that arrived are kept.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sllm_data.errors import ConfigError, OutputError, RejectedError, StorageError
from sllm_data.files import output_lock
from sllm_data.publishing.contents import FIRST, LAST, Contents, Item, contents_of
from sllm_data.publishing.hub import HubTarget, is_hub
from sllm_data.publishing.stored import StoredTarget
from sllm_data.publishing.target import Target, There
from sllm_data.publishing.terms import Terms, terms_of
from sllm_data.steps import Progress
from sllm_data.steps.dataset import read_run_document
from sllm_data.storage.places import local_copy
from sllm_data.validation.opening import Options as Validation
from sllm_data.validation.runner import validate

_MAX_RUN_YAML = 64 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the caller wants."""

    private: bool = True
    """Of a repository of the hub."""
    revision: str = "main"
    message: str = ""
    is_sure: bool = False
    """Makes public also what a licence forbids, or may forbid, to hand on."""
    patience_s: float = 300.0
    jobs: int | None = None
    """Processes that validate; None: one for each core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What was done."""

    dataset: str
    target: str
    sent: int
    sent_bytes: int
    kept: int
    kept_bytes: int
    removed: int
    left_out: Mapping[str, tuple[str, ...]]
    """Files of the dataset's folder that were not sent, by reason."""
    terms: Terms
    seconds: float

    def as_json(self) -> dict[str, Any]:  # Any: JSON document
        """The same as plain values."""
        return asdict(self)


def publish(
    root: Path,
    place: str,
    options: Options,
    *,
    progress: Progress,
    say: Callable[[str], None] = lambda _: None,
) -> Published:
    """Publishes a dataset.

    Args:
        root: The dataset.
        place: `hf://datasets/OWNER/NAME`, the URL of a folder in a storage, or a path.
        options: What the caller wants.
        progress: Bars.
        say: Told what a person should know before anything is sent.

    Raises:
        RejectedError: The dataset is not what its contract says.
        OutputError: It is being written, or not finished, or the target is another's.
        ConfigError: The target is none, or a licence speaks against making it public.
        StorageError: The target can't be reached, or does not hold what was sent.
    """
    start = time.monotonic()
    target = _target(root, place, options)
    _check_apart(root, place)
    with ExitStack() as stack:
        # what is no finished dataset is told before it is judged at length
        before = contents_of(root)
        with output_lock(root):
            pass
        _check(root, options, progress)
        stack.enter_context(output_lock(root))
        contents = contents_of(root)
        if contents.items[-1].sha256 != before.items[-1].sha256:
            raise OutputError(
                f"{root}: must stay as it is while it is validated, it was extended; run the same "
                "command again"
            )
        terms = terms_of(root)
        say(terms.text)
        if is_hub(place) and not options.private and terms.doubt and not options.is_sure:
            raise ConfigError(
                f"{root}: {terms.licence}: {terms.doubt}; add --yes to make it public all the "
                "same, or --private"
            )
        target.open()
        sent, removed = _send(contents, target, progress)
        _compare(contents, target)
    kept = [item for item in contents.items if item.name not in sent]
    return Published(
        dataset=str(root),
        target=target.url,
        sent=len(sent),
        sent_bytes=sum(item.size for item in contents.items if item.name in sent),
        kept=len(kept),
        kept_bytes=sum(item.size for item in kept),
        removed=removed,
        left_out=contents.left_out,
        terms=terms,
        seconds=time.monotonic() - start,
    )


def _target(root: Path, place: str, options: Options) -> Target:
    if is_hub(place):
        return HubTarget(
            place,
            private=options.private,
            revision=options.revision,
            message=options.message or f"Publish {root.absolute().name}",
            patience_s=options.patience_s,
        )
    return StoredTarget(place, patience_s=options.patience_s)


def _check_apart(root: Path, place: str) -> None:
    """Sees that neither folder is in the other: what is too much at a target is removed."""
    try:
        there = local_copy(place).resolve()  # also of a URL whose dataset was fetched
    except ValueError as error:
        raise ConfigError(f"the target can't be used: {error}") from error
    here = root.resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        raise ConfigError(
            f"{place}: the target must be a folder apart from the dataset, got one that "
            "holds the other; choose another one"
        )


def _check(root: Path, options: Options, progress: Progress) -> None:
    report = validate(root, Validation(level=1, jobs=options.jobs, progress=progress))
    if not report.passed:
        raise RejectedError(
            f"{root}: must pass level 1 before it is published, number of errors found: "
            f"{report.number('error'):,}; see them with `sllm-data validate {root} --level 1`"
        )


def _send(contents: Contents, target: Target, progress: Progress) -> tuple[set[str], int]:
    """Sends what is missing; returns the names that were sent, and how many were removed."""
    there = target.there()
    _check_owner(contents, target, there)
    missing = _missing(contents, target, there)
    gone = sorted(set(there) - {item.name for item in contents.items})
    parts = [item for item in (contents.first, *contents.parts) if item.name in missing]
    closing = [item for item in contents.closing if item.name in missing]
    closed = sorted((n for n in there if n.startswith("manifest/")), key=lambda n: n != LAST)
    if closed and any(item.name in there for item in parts if item.name != FIRST):
        # a manifest that is there speaks of a part that is about to be replaced
        target.send([], remove=closed, sent=lambda _: None)
        gone = [name for name in gone if name not in closed]
        closing = [i for i in contents.closing if i.name in missing or i.name in closed]
    with progress.bar("publish", len(parts) + len(closing)) as bar:

        def sent(_: Item) -> None:
            bar.advance()

        if parts and parts[0].name == FIRST:
            target.send(parts[:1], remove=[], sent=sent)
            parts_left = parts[1:]
        else:
            parts_left = parts
        target.send(parts_left, remove=[], sent=sent)
        _close(target, closing, gone, sent)
    return {item.name for item in (*parts, *closing)}, len(gone)


def _close(
    target: Target, closing: list[Item], gone: list[str], sent: Callable[[Item], None]
) -> None:
    """Cards and manifests: at once on the hub, one after the other elsewhere."""
    if isinstance(target, HubTarget):
        target.send(closing, remove=gone, sent=sent)
        return
    for item in closing:
        target.send([item], remove=[], sent=sent)
    target.send([], remove=gone, sent=sent)


def _missing(contents: Contents, target: Target, there: Mapping[str, There]) -> set[str]:
    return {
        item.name
        for item in contents.items
        if (found := there.get(item.name)) is None
        or found.size != item.size
        or not target.is_same(item, found)
    }


def _check_owner(contents: Contents, target: Target, there: Mapping[str, There]) -> None:
    """Sees that what is at the target is an earlier publish of this dataset."""
    if not there:
        return
    if FIRST not in there:
        raise OutputError(
            f"{target.url}: must be empty or hold an earlier publish of this dataset, found "
            f"{len(there):,} files without a {FIRST}, such as {min(there)!r}; choose another one"
        )
    with TemporaryDirectory(prefix="sllm-publish-") as scratch:
        path = Path(scratch) / FIRST
        path.write_bytes(target.read(FIRST, max_bytes=_MAX_RUN_YAML))
        try:
            document = read_run_document(Path(scratch))
        except OutputError:
            document = None
    if document is not None and len(document["extensions"]) > contents.num_extensions:
        raise OutputError(
            f"{target.url}: must hold this dataset or an earlier state of it, found one that was "
            "extended further; publish that one, or choose another target"
        )
    if document is None or document["extensions"][0] != contents.identity:
        raise OutputError(
            f"{target.url}: must be empty or hold an earlier publish of this dataset, found that "
            "of another configuration; choose another target"
        )


def _compare(contents: Contents, target: Target) -> None:
    there = target.there()
    wrong = sorted(_missing(contents, target, there))
    more = sorted(set(there) - {item.name for item in contents.items})
    if wrong or more:
        name, what = (wrong[0], "is not as it was sent") if wrong else (more[0], "is too much")
        raise StorageError(
            f"{target.url}: must hold the dataset and nothing else, found "
            f"{len(wrong) + len(more)} files that differ: {name} {what}; does another run write "
            "there? Publish again"
        )
