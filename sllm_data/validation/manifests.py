"""Level 0, all parts together: what the manifests promise about each other and the parts."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from sllm_data.shards import SCHEMA_VERSION, PartRecord, part_name
from sllm_data.steps.identities import identities
from sllm_data.steps.order import step_names
from sllm_data.validation import losses
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.footers import read_footers
from sllm_data.validation.losses import Seen
from sllm_data.validation.opening import part_at
from sllm_data.validation.rules import Rule
from sllm_data.validation.step_folders import folders_of, step_of
from sllm_data.validation.subject import Part, Subject

RULES = (
    Rule(
        name="part_missing",
        level=0,
        meaning="every part that a manifest names is there, and every step has the parts that "
        "its input has, numbered from 0 without a gap",
        foreign="off",
    ),
    Rule(
        name="manifest_inputs",
        level=0,
        meaning="a manifest names the digests of the manifests that its step read, as they are "
        "now, and the identity of its configuration",
        foreign="off",
    ),
    Rule(
        name="part_identity",
        level=0,
        meaning="a part was made for its step's configuration, or for that of an earlier "
        "extension",
        foreign="off",
    ),
    Rule(
        name="footer_counts",
        level=0,
        meaning="the counts of a manifest are the sums of the counts in its parts' footers",
        foreign="off",
    ),
    *losses.RULES,
)


def check(subject: Subject, tally: Tally) -> Subject:
    """Checks level 0; returns the subject with those parts that later levels can read."""
    records = {r.file: r for manifest in subject.manifests.values() for r in manifest.parts}
    if not subject.foreign:
        tally.add_all(_whether_finished(subject))
        tally.add_all(_presence(subject, records))
        tally.add_all(_inputs(subject))
    seen = Seen()
    sound: list[Part] = []
    for footer in read_footers(subject, tally, records):
        if footer.is_sound:
            sound.append(footer.part)
        seen.take(footer, is_named=footer.part.file in records)
    if not subject.foreign:
        tally.add_all(_identities(subject, seen))
        tally.add_all(_counts(subject, seen))
        tally.add_all(losses.losses(subject, seen))
    sound.sort(key=lambda part: part.file)
    readable = {part.file for part in sound}
    there = {part.file: part for part in subject.parts}
    missing = {file: part_at(file, 0) for file in records.keys() - there.keys()}
    unread = (part for file, part in (there | missing).items() if file not in readable)
    return replace(subject, parts=tuple(sound), unread=tuple(unread))


def _whether_finished(subject: Subject) -> Iterator[Finding]:
    def unfinished(file: str, message: str) -> Finding:
        return Finding(rule="finished", part=file, message=message)

    newest = len(subject.document.get("extensions", ())) - 1
    for step in step_names(subject.config) if subject.config else ():
        file = f"manifest/{step}.json"
        manifest = subject.manifests.get(step)
        if manifest is None:
            if not (subject.root / file).exists():
                yield unfinished(file, f"the step {step} is not finished; run it again")
        elif manifest.extension != newest:
            yield unfinished(
                file,
                f"must be of extension {newest}, is of {manifest.extension}; "
                "run it again with --extend",
            )
    if "assemble" in subject.manifests and not (subject.root / "README.md").exists():
        yield unfinished("README.md", "must be there, is missing; run it again")


def _presence(subject: Subject, records: Mapping[str, PartRecord]) -> Iterator[Finding]:
    there = {part.file for part in subject.parts}
    for file in sorted(records.keys() - there):
        yield Finding(
            rule="part_missing", part=file, message="a manifest names it, the file is missing"
        )
    steps = step_names(subject.config) if subject.config else []
    unfinished = {step for step in steps if not _is_newest(subject, step)}
    for file in sorted(there - records.keys()):
        step = step_of(file.rpartition("/")[0])
        if step not in subject.manifests and (subject.root / f"manifest/{step}.json").exists():
            continue  # its manifest can't be used, which has been told
        if step in unfinished:
            message = f"is a part of {step}, which is not finished; run it again"
            yield Finding(rule="finished", part=file, message=message)
        else:
            yield Finding(rule="part_unexpected", part=file, message="no manifest names it")
    for step, numbers in _expected_numbers(subject):
        for folder in folders_of(step):
            for number in numbers:
                file = f"{folder}/{part_name(number)}"
                if file not in records:
                    message = f"manifest/{step}.json must name it, does not"
                    yield Finding(rule="part_missing", part=file, message=message)


def _is_newest(subject: Subject, step: str) -> bool:
    """Whether a step is finished for the newest extension."""
    manifest = subject.manifests.get(step)
    newest = len(subject.document.get("extensions", ())) - 1
    return manifest is not None and manifest.extension == newest


def _expected_numbers(subject: Subject) -> Iterator[tuple[str, range]]:
    """Each finished step, and the numbers that its parts must have."""
    for step, manifest in subject.manifests.items():
        if not _is_newest(subject, step):
            continue  # told by the rule `finished`
        source = {
            "candidates": step,
            "ingest": "candidates",
            "index": step,
            "align": "ingest",
        }.get(step, "index")
        upstream = subject.manifests.get(source, manifest)
        main = folders_of(source)[-1]
        yield step, range(sum(part.file.startswith(f"{main}/") for part in upstream.parts))


def _inputs(subject: Subject) -> Iterator[Finding]:
    def wrong(step: str, column: str, value: str, message: str) -> Finding:
        return Finding(
            rule="manifest_inputs",
            part=f"manifest/{step}.json",
            column=column,
            value=value,
            message=message,
        )

    digests = {step: manifest.digest() for step, manifest in subject.manifests.items()}
    for step, read in subject.manifests.items():
        for name, digest in read.inputs.items() if _is_newest(subject, step) else ():
            if digests.get(name, digest) != digest:
                message = f"{name} was made anew after {step} had read it"
                yield wrong(step, f"inputs.{name}", digest, message)
    newest = _configured(subject)[-1:]
    for step, identity in newest[0].items() if newest else ():
        manifest = subject.manifests.get(step)
        if manifest and _is_newest(subject, step) and manifest.identity != identity:
            message = f"must be the identity of run.yaml's configuration, {identity}"
            yield wrong(step, "identity", manifest.identity, message)


def _configured(subject: Subject) -> list[dict[str, str]]:
    """By extension: the identities of the steps that depend on run.yaml alone.

    Later steps depend on wordings and templates too, which the dataset does not hold.
    """
    extensions = subject.document.get("extensions", [])
    if subject.published.version != SCHEMA_VERSION:
        return []  # identities hash the version too
    try:
        found = [identities(extensions[: count + 1]) for count in range(len(extensions))]
    except (KeyError, TypeError):  # not the fields of this version: see run_document
        return []
    return [
        {step: known[step] for step in ("candidates", "ingest", "index", "align")}
        for known in found
    ]


def _identities(subject: Subject, seen: Seen) -> Iterator[Finding]:
    configured = _configured(subject)
    for step, homes in seen.identities.items():
        manifest = subject.manifests.get(step)
        if manifest is None:
            continue
        allowed = {known[step] for known in configured if step in known}
        if not allowed:
            # the newest, and at most one more for each earlier extension
            others = sorted(homes.keys() - {manifest.identity}, key=lambda name: homes[name])
            allowed = {manifest.identity, *others[: manifest.extension]}
        for identity, file in homes.items():
            if identity not in allowed:
                yield Finding(
                    rule="part_identity",
                    part=file,
                    value=shown(identity),
                    message=f"must be made for a configuration of {step}: "
                    f"{' or '.join(sorted(allowed))}",
                )


def _counts(subject: Subject, seen: Seen) -> Iterator[Finding]:
    for step, manifest in subject.manifests.items():
        if not all(part.file in seen.rows for part in manifest.parts):
            continue  # the part that is missing has been told
        found = seen.counts.get(step, {})
        for kind in sorted({*found, *manifest.counts}):
            said, summed = manifest.counts.get(kind, {}), found.get(kind, Counter[str]())
            for name in sorted({*said, *summed}):
                if said.get(name, 0) != summed.get(name, 0):
                    yield Finding(
                        rule="footer_counts",
                        part=f"manifest/{step}.json",
                        column=f"{kind}.{name}",
                        value=str(said.get(name, 0)),
                        message=f"the footers of its parts say {summed.get(name, 0)}",
                    )
