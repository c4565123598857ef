"""Level 0: nothing is lost: what a step read are the rows and rejections of what it wrote.

Here that is counted from footers, part by part; level 1 follows single rows.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sllm_data.records import PASSES, Reason
from sllm_data.shards import Manifest, part_name
from sllm_data.validation.findings import Finding
from sllm_data.validation.footers import Footer
from sllm_data.validation.rules import Rule
from sllm_data.validation.step_folders import step_of
from sllm_data.validation.subject import Subject

RULES = (
    Rule(
        name="nothing_lost",
        level=0,
        meaning="in every part, rows in are rows out and rejections: candidates are audio and "
        "rejections, audio is index, tasks of the index are requests and rejections, requests "
        "are responses and rejections, responses are samples and rejections",
        foreign="off",
    ),
)


@dataclass(kw_only=True, slots=True)
class Seen:
    """What is kept of the footers: sums by step, and a few numbers of each part."""

    rows: dict[str, int] = field(default_factory=dict)
    """By file."""
    tasks: dict[str, int] = field(default_factory=dict)
    """Tasks that were given, by index file."""
    whole: dict[str, int] = field(default_factory=dict)
    """Rejections in plan that stand for all tasks of an utterance, by file."""
    identities: dict[str, dict[str, str]] = field(default_factory=dict)
    """By step: identity, and the last file that has it."""
    counts: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    """By step and kind."""

    def take(self, footer: Footer, *, is_named: bool) -> None:
        """Adds one footer; that of a part that no manifest names only by its rows."""
        part = footer.part
        self.rows[part.file] = part.rows
        if not is_named:
            return
        step = step_of(part.folder)
        homes = self.identities.setdefault(step, {})
        homes[footer.identity] = max(homes.get(footer.identity, ""), part.file)
        totals = self.counts.setdefault(step, {})
        for kind, numbers in footer.counts.items():
            totals.setdefault(kind, Counter()).update(numbers)
        if part.table == "index":
            self.tasks[part.file] = sum(footer.counts.get("tasks", {}).values())
        elif part.table == "rejections":
            reasons = footer.counts.get("rejections", {})
            self.whole[part.file] = reasons.get(Reason.EMPTY_TRANSCRIPT, 0)


def losses(subject: Subject, seen: Seen) -> Iterator[Finding]:
    """Yields the parts in which rows were lost, or came from nowhere."""
    yield from _lost(seen, subject.manifests.get("ingest"), "audio", "candidates")
    index = subject.manifests.get("index")
    audio_parts = index.extra if index else {}
    bases: set[str] = set()
    for number, audio_part in sorted(audio_parts.items(), key=lambda pair: int(pair[0])):
        if audio_part in bases:
            continue  # a growth part holds the kept rows only
        bases.add(audio_part)
        file = f"index/{part_name(int(number))}"
        source = f"audio/{part_name(int(audio_part))}"
        if file in seen.rows and source in seen.rows and seen.rows[file] != seen.rows[source]:
            yield _loss(file, seen.rows[file], f"{source} has {seen.rows[source]} rows")
    yield from _lost_restores(seen, subject.manifests.get("plan.restore"))
    for turn in PASSES:
        if turn == "main":
            yield from _lost_tasks(seen, subject.manifests.get("plan.main"))
        generated = subject.manifests.get(f"generate.{turn}")
        yield from _lost(seen, generated, f"responses/{turn}", f"requests/{turn}")
    yield from _lost(seen, subject.manifests.get("assemble"), "samples", "responses/main")


def _lost(seen: Seen, manifest: Manifest | None, main: str, source: str) -> Iterator[Finding]:
    """Part by part: rows of the source are rows of the main table and rejections."""
    if manifest is None:
        return
    for record in manifest.parts:
        folder, _, name = record.file.rpartition("/")
        files = (f"{source}/{name}", record.file, f"rejections/{manifest.step}/{name}")
        if folder != main or not all(file in seen.rows for file in files):
            continue  # what is missing has been told
        came, rows, rejected = (seen.rows[file] for file in files)
        if came != rows + rejected:
            message = f"and {rejected} rejections must make the {came} rows of {files[0]}"
            yield _loss(record.file, rows, message)


def _lost_restores(seen: Seen, manifest: Manifest | None) -> Iterator[Finding]:
    """Every row of the index that is kept is asked for, or rejected."""
    for record in manifest.parts if manifest else ():
        name = record.file.rpartition("/")[-1]
        files = f"index/{name}", f"rejections/index/{name}", f"rejections/plan.restore/{name}"
        if (
            not record.file.startswith("requests/")
            or not {*files, record.file} <= seen.rows.keys()
        ):
            continue
        rows, unused, rejected = (seen.rows[file] for file in files)
        if rows - unused != seen.rows[record.file] + rejected:
            message = f"and {rejected} rejections must make the {rows - unused} rows that are kept"
            yield _loss(record.file, seen.rows[record.file], message)


def _lost_tasks(seen: Seen, manifest: Manifest | None) -> Iterator[Finding]:
    for record in manifest.parts if manifest else ():
        if not record.file.startswith("requests/main/"):
            continue
        name = record.file.rpartition("/")[-1]
        index, rejections = f"index/{name}", f"rejections/plan.main/{name}"
        if index not in seen.tasks or not {rejections, record.file} <= seen.rows.keys():
            continue
        if seen.whole.get(rejections):
            continue  # each of these stands for several tasks: level 1 looks at rows
        tasks, rejected = seen.tasks[index], seen.rows[rejections]
        if tasks != seen.rows[record.file] + rejected:
            message = f"and {rejected} rejections must make the {tasks} tasks of {index}"
            yield _loss(record.file, seen.rows[record.file], message)


def _loss(file: str, rows: int, message: str) -> Finding:
    return Finding(
        rule="nothing_lost", part=file, value=str(rows), message=f"its {rows} rows {message}"
    )
