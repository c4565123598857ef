"""One step on disk: part k in, part k out, the manifest last.

Every step that maps parts runs through `finish_parts`: it does the parts that are missing,
refuses parts of another configuration, counts rejections, and writes the manifest. That is
all there is to resume.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import sllm_data
from sllm_data.errors import OutputError, RejectedError, ShardError
from sllm_data.records import Rejection
from sllm_data.shards import (
    TABLES,
    Manifest,
    PartRecord,
    check_unchanged,
    part_name,
    read_footer,
    record_of,
    write_manifest,
    write_part,
)
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.expected import expected_identity

Records = tuple[PartRecord, ...]
Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What a step is called, what it writes, and what its rows depend on."""

    name: str
    """`ingest`, `plan.main`: also the manifest's name."""
    folders: tuple[str, ...]
    """Tables it writes, the main one last: its part's existence means the part is done."""
    identity: str
    """Hash of the configuration that its rows depend on, upstream included."""
    inputs: tuple[str, ...]
    """Steps whose manifests it reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """What a step did in this run, for the screen and for flows."""

    step: str
    rows: int
    rejected: int
    parts_done: int
    """Parts that were made now."""
    parts_kept: int
    """Parts that were there already."""
    seconds: float = 0.0

    @property
    def was_done(self) -> bool:
        """Whether nothing was left to do."""
        return self.parts_done == 0


def finish_parts(
    dataset: Dataset,
    step: Step,
    numbers: Sequence[int],
    make: Callable[[Sequence[int]], Iterable[Records]],
    *,
    extra: Callable[[Counts], Mapping[str, str]] | None = None,
    tells_itself: bool = False,
) -> StepReport:
    """Does the missing parts of a step and writes its manifest.

    Args:
        dataset: The dataset, locked by this process.
        step: The step.
        numbers: All its parts, those of earlier extensions included.
        make: Makes the parts it is given, in any order, yielding the records of each when
            all of its files have their final names.
        extra: Called with the counts of all parts; returns facts to keep in the manifest.
        tells_itself: Whether `make` calls `tell_committed` for each part, since it yields them
            later than it makes them.

    Raises:
        RejectedError: More rows were rejected than `max_rejected_fraction` allows.
        OutputError: A part on disk was made under another configuration.
        ShardError: A part that is to be read is not what its manifest says.
    """
    read = {name: _input(dataset, name) for name in step.inputs}
    inputs = {name: manifest.digest() for name, manifest in read.items()}
    old = dataset.manifest(step.name)
    if old is not None and old.extension == dataset.extension:
        _check_same(dataset, step, old, inputs)
        return _report(step, old.parts, done=0, kept=len(numbers))
    start = time.monotonic()
    committed = {} if old is None else {record.file: record for record in old.parts}
    missing = [k for k in numbers if not _is_done(dataset, step, k, committed)]
    for manifest in (*read.values(), *((old,) if old else ())):
        check_unchanged(dataset.root, manifest)
    dataset.tell("begins", {"step": step.name, "parts": len(numbers), "left": len(missing)})
    made: list[PartRecord] = []
    for done, records in enumerate(make(missing), start=1):
        if not tells_itself:
            tell_committed(dataset, step, records, left=len(missing) - done)
        committed.update({record.file: record for record in records})
        made += records
    files = [f"{folder}/{part_name(k)}" for k in numbers for folder in step.folders]
    parts = tuple(
        committed[file] if file in committed else record_of(dataset.root, file) for file in files
    )
    counts = count_parts(dataset.root, parts)
    before = {record.file for record in old.parts} if old else set()
    _tell_end(dataset, step, made or [p for p in parts if p.file not in before], start)
    _check_rejections(dataset, step, parts, counts)
    manifest = Manifest(
        step=step.name,
        identity=step.identity,
        inputs=inputs,
        parts=parts,
        counts=counts,
        code_version=sllm_data.__version__,
        extension=dataset.extension,
        extra=dict(extra(counts)) if extra else {},
    )
    write_manifest(dataset.manifest_path(step.name), manifest)
    return _report(step, parts, done=len(missing), kept=len(numbers) - len(missing))


def tell_committed(dataset: Dataset, step: Step, records: Records, *, left: int) -> None:
    """Sends the files of a part to the storage, where there is one, and tells of it.

    Raises:
        StorageError: An earlier file could not be sent.
    """
    dataset.send_soon(records)
    rejected, rows = _rows(step, records)
    files = [record.file for record in records]
    facts = {"step": step.name, "files": files, "rows": rows, "rejected": rejected, "left": left}
    dataset.tell("committed", facts | {"reasons": _reasons(dataset, records)})


def _tell_end(dataset: Dataset, step: Step, made: Iterable[PartRecord], start: float) -> None:
    """Tells what this run made, also where it has rejected too much of it."""
    made = tuple(made)
    rejected, rows = _rows(step, made)
    parts = sum(part.file.startswith(f"{step.folders[-1]}/") for part in made)
    facts = {"step": step.name, "rows": rows, "rejected": rejected}
    facts |= {"reasons": _reasons(dataset, made)}
    facts |= {"parts_made": parts, "seconds": time.monotonic() - start}
    dataset.tell("ends", facts)


def _reasons(dataset: Dataset, records: Iterable[PartRecord]) -> dict[str, int]:
    dropped = [record for record in records if record.file.startswith("rejections/")]
    return count_parts(dataset.root, dropped).get("rejections", {})


def _input(dataset: Dataset, name: str) -> Manifest:
    """The manifest of a finished input of this extension, made with what is configured now."""
    manifest = dataset.finished(name)
    if manifest.extension != dataset.extension:
        raise ShardError(f"{dataset.root}: the step {name} must be extended first")
    if manifest.identity != expected_identity(dataset, name):
        raise OutputError(edited(dataset, name))
    return manifest


def _check_same(dataset: Dataset, step: Step, old: Manifest, inputs: Mapping[str, str]) -> None:
    if old.identity != step.identity:
        raise OutputError(edited(dataset, step.name))
    changed = sorted(name for name, digest in inputs.items() if old.inputs.get(name) != digest)
    if changed:
        raise OutputError(
            f"{dataset.root}: {changed[0]} was made anew after {step.name} had read it; delete "
            f"{step.folders[-1]}/, rejections/{step.name}/ and manifest/{step.name}.json and "
            "run it again"
        )


def edited(dataset: Dataset, name: str) -> str:
    """The sentence for a step that was made with other wordings or templates than now."""
    return (
        f"{dataset.root}: {name} was made with other wordings or templates than those that "
        "are there now; put the old files back, or choose another output (reuse: takes over "
        "every response whose prompt is the same)"
    )


def _is_done(
    dataset: Dataset, step: Step, number: int, committed: Mapping[str, PartRecord]
) -> bool:
    main = step.folders[-1]
    if f"{main}/{part_name(number)}" in committed:
        return True
    path = dataset.part(main, number)
    if not path.exists():
        return False
    found = read_footer(path).identity
    if found != step.identity:
        raise OutputError(
            f"{path}: was made under another configuration ({found}, expected {step.identity}); "
            "delete the part, or choose another output"
        )
    return True


def count_parts(root: Path, parts: Iterable[PartRecord]) -> dict[str, dict[str, int]]:
    """Adds up the counts that the parts' footers hold."""
    totals: dict[str, Counter[str]] = {}
    for part in parts:
        for kind, counts in read_footer(root / part.file).counts.items():
            totals.setdefault(kind, Counter()).update(counts)
    return {kind: dict(sorted(counts.items())) for kind, counts in sorted(totals.items())}


def _check_rejections(dataset: Dataset, step: Step, parts: Records, counts: Counts) -> None:
    rejected, kept = _rows(step, parts)
    allowed = dataset.config.max_rejected_fraction
    if rejected <= allowed * (rejected + kept):
        return
    reasons = Counter(counts.get("rejections", {})).most_common(3)
    named = ", ".join(f"{reason} {number:,}" for reason, number in reasons)
    raise RejectedError(
        f"{dataset.root}: {step.name} rejected {rejected:,} of {rejected + kept:,} rows "
        f"({named}), more than max_rejected_fraction = {allowed:g} allows; look at "
        f"rejections/{step.name}, mend the input or raise the bound, then run it again"
    )


def _rows(step: Step, parts: Iterable[PartRecord]) -> tuple[int, int]:
    rejected = kept = 0
    for part in parts:
        if part.file.startswith("rejections/"):
            rejected += part.rows
        elif part.file.startswith(f"{step.folders[-1]}/"):
            kept += part.rows
    return rejected, kept


def _report(step: Step, parts: Iterable[PartRecord], *, done: int, kept: int) -> StepReport:
    rejected, rows = _rows(step, parts)
    return StepReport(
        step=step.name, rows=rows, rejected=rejected, parts_done=done, parts_kept=kept
    )


def write_rejections(
    root: Path, step: Step, number: int, rejections: Iterable[Rejection]
) -> PartRecord:
    """Writes the rejections of one part, as a stream; its footer counts them by reason."""
    reasons: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, str | None]]:
        for rejection in rejections:
            reasons[rejection.reason] += 1
            yield asdict(rejection)

    return write_part(
        root,
        f"rejections/{step.name}/{part_name(number)}",
        rows(),
        table=TABLES["rejections"],
        identity=step.identity,
        counts={"rejections": reasons},
    )
