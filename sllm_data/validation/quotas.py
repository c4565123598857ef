"""Level 1: the tasks of the index are those that may be asked, in the numbers asked for.

The parts are looked at one by one; what is kept of them is how many utterances of each kind
there are: same split, same tasks given, same tasks possible. From these few numbers it can be
told whether a quota that was missed could have been met (`sampling.quotas.is_settled`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sllm_data.config import RunConfig
from sllm_data.errors import ShardError
from sllm_data.records.utterance import SPLITS
from sllm_data.sampling import TaskConfig, largest_remainder, num_tasks_for
from sllm_data.sampling.draw import is_named, is_open, num_words
from sllm_data.sampling.quotas import is_settled
from sllm_data.shards import part_name, read_footer, read_part
from sllm_data.steps.identities import identities
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.index_parts import IndexPart, index_parts
from sllm_data.validation.pages import noting_damage
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part, Subject, mapped, workers_for

RULES = (
    Rule(
        name="task_eligible",
        level=1,
        meaning="every task may be asked of its clip: language, length of the transcript, "
        "split, emotion",
        foreign="off",
    ),
    Rule(
        name="quota",
        level=1,
        meaning="with `draw.mode: quota`, the tasks of each split have the numbers that their "
        "weights ask for by largest remainder, or as near as the clips that may be asked allow",
        foreign="off",
    ),
)


@dataclass(frozen=True, order=True, kw_only=True, slots=True)
class _Kind:
    """Utterances that are alike; sets of tasks are bits, by the order of their names."""

    identity: str
    """Of the index part: tells its extension."""
    growth: bool
    split: str
    held: int
    may: int
    wanted: int
    """How many tasks such an utterance is to get; 0 where nothing depends on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    root: Path
    part: IndexPart
    config: RunConfig
    keep: int


def check(subject: Subject, tally: Tally) -> None:
    """Checks eligibility and quotas of a dataset whose run.yaml can be read."""
    config = subject.config
    if config is None:
        return
    there = {part.file for part in subject.parts}
    jobs = [
        _Job(root=subject.root, part=part, config=config, keep=subject.keep)
        for part in index_parts(subject.manifests)
        if {_index(part).file, _audio(part).file} <= there
    ]
    kinds: Counter[_Kind] = Counter()
    workers = workers_for(sum(part.rows for part in subject.parts_of("index")))
    for counted, found in mapped(subject, "quotas", _judge, jobs, workers=workers):
        kinds.update(counted)
        tally.merge(found)
    if config.draw.mode == "quota" and len(jobs) == len(index_parts(subject.manifests)):
        tally.add_all(_quotas(subject, config, kinds))


def _index(part: IndexPart) -> Part:
    return Part(file=f"index/{part_name(part.number)}", table="index", number=part.number)


def _audio(part: IndexPart) -> Part:
    number = part.audio_part
    return Part(file=f"audio/{part_name(number)}", table="audio", number=number)


def _tasks(config: RunConfig) -> dict[str, TaskConfig]:
    return {name: task for name, task in sorted(config.tasks.items()) if task.weight > 0}


def _judge(job: _Job) -> tuple[Counter[_Kind], Tally]:
    tally = Tally(job.keep)
    kinds: Counter[_Kind] = Counter()
    index = _index(job.part)
    with noting_damage(index, tally):
        try:
            for kind, audio_id, strange in _kinds(job):
                kinds[kind] += 1
                if strange:
                    tally.add(_not_eligible(index, audio_id, strange))
        except ShardError as error:
            raise OSError(str(error)) from error
    return kinds, tally


def _not_eligible(index: Part, audio_id: str, tasks: Sequence[str]) -> Finding:
    return Finding(
        rule="task_eligible",
        part=index.file,
        row=shown(audio_id),
        column="tasks",
        value=", ".join(tasks),
        message="may not be asked of this clip: its language, length, split or emotion",
    )


def _kinds(job: _Job) -> Iterator[tuple[_Kind, str, list[str]]]:
    """Yields kind, audio_id and tasks that may not be asked, of each row that is kept."""
    config, tasks = job.config, _tasks(job.config)
    index_path = job.root / _index(job.part).file
    identity = read_footer(index_path).identity
    texts = _texts(job.root / _audio(job.part).file)
    eligible = _Eligible(tasks)
    bits = {name: 1 << bit for bit, name in enumerate(tasks)}
    counts = job.part.growth and config.draw.mode == "quota"
    columns = ["audio_id", "kept", "split", "tasks"]
    for row in read_part(index_path, columns).to_pylist():
        audio_id = row["audio_id"]
        if not row["kept"] or audio_id not in texts:
            continue
        text = texts[audio_id]
        may = eligible.of(text, row["split"])
        given = [name for name in row["tasks"] if name in bits]
        wanted = num_tasks_for(config.draw, seed=config.seed, audio_id=audio_id) if counts else 0
        kind = _Kind(
            identity=identity,
            growth=job.part.growth,
            split=row["split"],
            held=sum(bits[name] for name in set(given)),
            may=may,
            wanted=wanted,
        )
        yield kind, audio_id, [name for name in given if not bits[name] & may]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Text:
    """What decides which tasks a clip may get."""

    language: str
    num_words: int
    has_emotion: bool


def _texts(path: Path) -> dict[str, _Text]:
    columns = ["audio_id", "language", "transcript", "speaker"]
    return {
        row["audio_id"]: _Text(
            language=row["language"],
            num_words=num_words(row["transcript"], row["language"]),
            has_emotion=is_named(row["speaker"]["emotion"]),
        )
        for row in read_part(path, columns).to_pylist()
    }


class _Eligible:
    """Which tasks may be asked, as bits; remembered by language, split and length."""

    def __init__(self, tasks: Mapping[str, TaskConfig]) -> None:
        self._tasks = tasks
        self._known: dict[tuple[_Text, str], int] = {}

    def of(self, text: _Text, split: str) -> int:
        """The tasks of an utterance of this text and split."""
        key = text, split
        if key not in self._known:
            self._known[key] = sum(
                1 << bit
                for bit, task in enumerate(self._tasks.values())
                if text.num_words >= task.min_words
                and is_open(task, language=text.language, split=split)
                and (text.has_emotion or not task.needs_emotion)
            )
        return self._known[key]


def _quotas(subject: Subject, config: RunConfig, kinds: Counter[_Kind]) -> Iterator[Finding]:
    extensions = subject.document["extensions"]
    for number in range(len(extensions)):
        identity = identities(extensions[: number + 1])["index"]
        names = extensions[number]["tasks"].keys()
        before = extensions[number - 1]["tasks"].keys() if number else frozenset()
        tasks = {name: task for name, task in _tasks(config).items() if name in names}
        for split in SPLITS:
            mine = {k: n for k, n in kinds.items() if (k.identity, k.split) == (identity, split)}
            weights = {
                name: 0.0 if task.held_out and split == "train" else task.weight
                for name, task in tasks.items()
            }
            fresh = {kind: n for kind, n in mine.items() if not kind.growth}
            grown = {kind: n for kind, n in mine.items() if kind.growth}
            every = list(_tasks(config))
            yield from _of_fresh(split, fresh, weights, every)
            if grown:
                yield from _of_growth(split, grown, weights, every, frozenset(before))


def _of_fresh(
    split: str, kinds: Mapping[_Kind, int], weights: Mapping[str, float], every: Sequence[str]
) -> Iterator[Finding]:
    """Clips that are new in their extension: all tasks at once, as near as can be."""
    total = sum(kind.held.bit_count() * number for kind, number in kinds.items())
    quotas = largest_remainder(total, weights)
    found = {name: _holding(kinds, 1 << every.index(name)) for name in weights}
    left = [quotas.get(name, 0) - found.get(name, 0) for name in every]
    among = sum(1 << every.index(name) for name in weights)
    held = np.array([kind.held for kind in kinds], np.int64)
    may = np.array([kind.may & among for kind in kinds], np.int64)
    if not any(left) or is_settled(held, may, left):
        return
    for name in weights:
        if found[name] != quotas[name]:
            yield _missed(split, name, found[name], quotas[name])


def _of_growth(
    split: str,
    kinds: Mapping[_Kind, int],
    weights: Mapping[str, float],
    every: Sequence[str],
    before: frozenset[str],
) -> Iterator[Finding]:
    """New tasks over older clips: each as many as its weight asks beside the older tasks."""
    old = sum(1 << every.index(name) for name in weights if name in before)
    total = sum(min(k.wanted, (k.may & old).bit_count()) * n for k, n in kinds.items())
    old_weight = sum(weight for name, weight in weights.items() if name in before)
    new = {name: weight for name, weight in weights.items() if name not in before}
    quotas = largest_remainder(round(total * sum(new.values()) / max(old_weight, 1e-9)), new)
    for name in new:
        bit = 1 << every.index(name)
        possible = sum(number for kind, number in kinds.items() if kind.may & bit)
        expected = min(quotas[name], possible)
        if (found := _holding(kinds, bit)) != expected:
            yield _missed(split, name, found, expected)


def _holding(kinds: Mapping[_Kind, int], bit: int) -> int:
    return sum(number for kind, number in kinds.items() if kind.held & bit)


def _missed(split: str, task: str, found: int, expected: int) -> Finding:
    return Finding(
        rule="quota",
        part="manifest/index.json",
        row=split,
        column=task,
        value=str(found),
        message=f"in {split}, {task} must have {expected} clips by its weight, has {found}",
    )
