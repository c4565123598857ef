"""Guards against speech anchor bias, measured on the corpus before anything is trained on it.

A corpus teaches a model to ignore instructions where the response can be told without them:
from the transcript alone, from the other responses about the clip, or from who speaks.

Copy rates are those of the filters: 2L / (R + T), of L words in common and in order among R
and T words (the F1 of ROUGE-L). Rows of at most MAX_CLIPS clips are measured, drawn by hash;
they are read part by part. Cost: the square of the rows of a clip.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from zlib import crc32

from rapidfuzz.distance import Indel

from sllm_data.reporting.report.tables import Tables
from sllm_data.shards import read_part
from sllm_data.words import words

MAX_CLIPS = 4_000
_COLUMNS = ["sample_id", "task", "language", "audio_refs", "transcript", "response", "generator"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """How much of a task's responses its transcripts give away."""

    rows: int
    is_transcript: bool
    """Whether the transcript is the answer that was asked for, as of a transcription."""
    own: float | None
    """Mean copy rate of a response and its own transcript."""
    other: float | None
    """The same with the transcript of another row of the task."""
    own_words: float | None
    """Mean share of a response's words that its transcript has."""
    other_words: float | None

    @property
    def gain(self) -> float | None:
        """What the own transcript tells beyond any transcript."""
        return None if self.own is None or self.other is None else self.own - self.other


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchors:
    """The guard metrics."""

    rows: int
    """That were measured."""
    clips: int
    tasks: Mapping[str, Predicted]
    similarity: Mapping[str, Mapping[str, float]]
    """Mean copy rate of two responses about one clip, by both tasks in alphabetical order."""
    same_clip: float | None
    """The same over all pairs, without tasks whose answer is the transcript."""
    other_clip: float | None
    """Of responses to two tasks about two clips: what any two responses have in common."""
    speakers: Mapping[int, int]
    """Number of speakers by number of different tasks that they are heard with."""
    unknown_speaker_rows: int


@dataclass(slots=True)
class _Mean:
    total: float = 0.0
    num: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.num += 1

    @property
    def value(self) -> float | None:
        return self.total / self.num if self.num else None


@dataclass(frozen=True, slots=True)
class _Row:
    sample_id: str
    task: str
    language: str
    clip: str
    transcript: list[str]
    response: list[str]
    is_transcript: bool


@dataclass(slots=True)
class _Sums:
    rows: int = 0
    clips: int = 0
    means: defaultdict[tuple[str, str], _Mean] = field(default_factory=lambda: defaultdict(_Mean))
    """By task and figure."""
    num: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    transcripts: set[str] = field(default_factory=set)
    """Tasks whose answer is the transcript."""
    pairs: defaultdict[tuple[str, str], _Mean] = field(default_factory=lambda: defaultdict(_Mean))
    same_clip: _Mean = field(default_factory=_Mean)
    other_clip: _Mean = field(default_factory=_Mean)


def collect_anchors(tables: Tables) -> Anchors:
    """Measures the samples.

    Raises:
        ShardError: A part is damaged.
    """
    ((clips,),) = tables.rows("SELECT count(*) FROM audio")
    share = MAX_CLIPS / max(clips, MAX_CLIPS)
    sums = _Sums()
    for path in tables.files("samples/"):
        rows = list(_measured(path, share))
        sums.rows += len(rows)
        _add_predictions(sums, rows)
        _add_similarities(sums, rows)
    similarity: dict[str, dict[str, float]] = {}
    for (a, b), mean in sorted(sums.pairs.items()):
        similarity.setdefault(a, {})[b] = mean.total / mean.num
    speakers = tables.rows(
        """SELECT id IS NULL, tasks, count(*), CAST(sum(num) AS BIGINT) FROM
        (SELECT speakers[1].id AS id, source.corpus, count(DISTINCT task) AS tasks,
        count(*) AS num FROM samples GROUP BY ALL) GROUP BY ALL ORDER BY ALL"""
    )
    return Anchors(
        rows=sums.rows,
        clips=sums.clips,
        tasks={task: _predicted(sums, task) for task in sorted(sums.num)},
        similarity=similarity,
        same_clip=sums.same_clip.value,
        other_clip=sums.other_clip.value,
        speakers={tasks: num for unknown, tasks, num, _ in speakers if not unknown},
        unknown_speaker_rows=sum(rows for unknown, _, _, rows in speakers if unknown),
    )


def _predicted(sums: _Sums, task: str) -> Predicted:
    def mean(name: str) -> float | None:
        return sums.means[task, name].value

    return Predicted(
        rows=sums.num[task],
        is_transcript=task in sums.transcripts,
        own=mean("own"),
        other=mean("other"),
        own_words=mean("own_words"),
        other_words=mean("other_words"),
    )


def _measured(path: Path, share: float) -> Iterator[_Row]:
    table = read_part(path, _COLUMNS)
    clips = [refs[0]["audio_id"] for refs in table.column("audio_refs").to_pylist()]
    drawn = [place for place, clip in enumerate(clips) if crc32(clip.encode()) < share * 2**32]
    for place, row in zip(drawn, table.take(drawn).to_pylist(), strict=True):
        yield _Row(
            row["sample_id"],
            row["task"],
            row["language"],
            clips[place],
            words(row["transcript"]),
            words(row["response"]),
            row["generator"]["engine"] == "none",
        )


def _add_predictions(sums: _Sums, rows: list[_Row]) -> None:
    """Compares each response with its own transcript, and with that of the next row.

    Rows of one task and language stand in the order of their ids, which are hashes, so the
    next one is any other; where it says the same words, nothing is compared.
    """
    groups: defaultdict[tuple[str, str], list[_Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.sample_id):
        groups[row.task, row.language].append(row)
    for (task, _), group in groups.items():
        for row, other in zip(group, [*group[1:], group[0]], strict=True):
            sums.num[task] += 1
            if row.is_transcript:
                sums.transcripts.add(task)
            if row.transcript and row.response:
                _add_pair(sums, row.task, "own", row.response, row.transcript)
                if other.transcript and other.transcript != row.transcript:
                    _add_pair(sums, row.task, "other", row.response, other.transcript)


def _add_pair(
    sums: _Sums, task: str, kind: str, response: list[str], transcript: list[str]
) -> None:
    sums.means[task, kind].add(_copy_rate(response, transcript))
    said = set(transcript)
    shared = sum(word in said for word in response) / len(response)
    sums.means[task, f"{kind}_words"].add(shared)


def _add_similarities(sums: _Sums, rows: list[_Row]) -> None:
    """Compares responses to different tasks: about one clip, and about it and the next one."""
    clips: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.task, row.sample_id)):
        clips[row.clip].append(row)
    sums.clips += len(clips)
    order = sorted(clips, key=lambda clip: (crc32(clip.encode()), clip))
    for clip, following in zip(order, [*order[1:], *order[:1]], strict=True):
        for a, b in combinations(clips[clip], 2):
            if a.task != b.task:
                rate = _copy_rate(a.response, b.response)
                sums.pairs[a.task, b.task].add(rate)
                if not (a.is_transcript or b.is_transcript):
                    sums.same_clip.add(rate)
        if following != clip:
            for a in clips[clip]:
                for b in clips[following]:
                    if a.task < b.task and not (a.is_transcript or b.is_transcript):
                        sums.other_clip.add(_copy_rate(a.response, b.response))


def _copy_rate(a: list[str], b: list[str]) -> float:
    return float(Indel.normalized_similarity(a, b)) if a or b else 0.0
