"""Rows of a dataset as exports see them: turns of text and of stretches of clips, by part.

Nothing of how they were made is needed, and no audio is opened: a stretch is checked against
what its part of `audio/` says of the clip, so that no export points behind the end of a file.

Memory: one part of `samples/` as Arrow, a few hundred rows of it as Python, and the facts (not
the bytes) of the clips of the parts of `audio/` that were looked at last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sllm_data.audio.segments import seeks_exactly
from sllm_data.errors import ShardError
from sllm_data.shards import part_name, read_footer, read_part
from sllm_data.units import Hertz, Samples, Seconds, to_seconds

_AT_ONCE = 256  # rows as Python objects
_OPEN_PARTS = 16
_REMEDY = "`sllm-data validate` tells what else is wrong with this dataset"


class ClipRef(NamedTuple):
    """Names a clip: the part of `audio/` and the row in it."""

    part: int
    audio_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFacts:
    """What a part of `audio/` says of a clip, without its bytes."""

    codec: str
    """Container and coding: `flac/pcm_16`."""
    rate_hz: Hertz
    num_channels: int
    num_samples: int
    """Frames at that rate."""
    transcript: str
    language: str


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a turn."""

    text: str
    supervised: bool
    """Whether a trainer computes a loss on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """Frames [start, start + num_samples) of a clip, which has them all."""

    clip: ClipRef
    index: int
    """Which of the row's clips."""
    start: int
    num_samples: int
    gain_db: float
    """Change of level; 0 is none."""
    facts: ClipFacts

    @property
    def is_whole(self) -> bool:
        """Whether this is the clip as it is stored."""
        return self.num_samples == self.facts.num_samples and not self.gain_db

    @property
    def is_found_in_file(self) -> bool:
        """Whether a reader finds it in the clip's file by time: positions in MP3 are a guess."""
        return self.is_whole or (not self.gain_db and seeks_exactly(self.facts.codec))

    @property
    def offset_s(self) -> Seconds:
        """Where it begins in its clip."""
        return to_seconds(Samples(self.start), self.facts.rate_hz)

    @property
    def duration_s(self) -> Seconds:
        """How long it lasts."""
        return to_seconds(Samples(self.num_samples), self.facts.rate_hz)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation on the audio side."""

    role: str
    """system, user or assistant."""
    content: tuple[Text | Heard, ...]

    @property
    def text(self) -> str:
        """All its text, without what is heard."""
        return "".join(span.text for span in self.content if isinstance(span, Text))


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of `samples/`."""

    sample_id: str
    kind: str
    task: str
    turns: tuple[Turn, ...]
    clips: tuple[ClipRef, ...]
    columns: Mapping[str, Any]  # Any: values of the samples table
    """Every column as it is stored."""

    @property
    def heard(self) -> tuple[Heard, ...]:
        """All stretches, in the order in which they are heard."""
        return tuple(
            span for turn in self.turns for span in turn.content if isinstance(span, Heard)
        )

    @property
    def response(self) -> str:
        """The last answer."""
        return str(self.columns["response"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which rows are exported; the trainer's own choice where nothing is said."""

    split: str = "train"
    eval_group: str = "train"
    """train, held_out_instruction, held_out_task, or all."""
    tasks: tuple[str, ...] = ()
    """All where empty."""
    kinds: tuple[str, ...] = ()
    """All where empty."""
    limit: int | None = None
    """At most so many, the first ones."""


class Rows:
    """The rows of a dataset that a selection takes, in the dataset's order."""

    def __init__(self, root: Path, selection: Selection) -> None:
        """Opens a dataset.

        Raises:
            ShardError: There is none, or its first part is damaged or of another version.
        """
        self._root = root
        self._selection = selection
        self.parts = tuple(sorted((root / "samples").glob("part-*.parquet")))
        if not self.parts:
            raise ShardError(
                f"{root}: must be a dataset with samples/part-*.parquet, there is none; "
                "check the path, or let `sllm-data run` make it"
            )
        read_footer(self.parts[0])
        self._facts = lru_cache(maxsize=_OPEN_PARTS)(self._read_facts)

    def __iter__(self) -> Iterator[Row]:
        """Yields the rows, each checked.

        Raises:
            ShardError: A part is damaged, or a row names what is not there.
        """
        left = self._selection.limit
        for path in self.parts:
            read_footer(path)
            table = read_part(path)
            table = table.filter(_chosen(table, self._selection))[:left]
            if left is not None:
                left -= len(table)
            for batch in table.to_batches(max_chunksize=_AT_ONCE):
                yield from map(self._row, batch.to_pylist())
            if left == 0:
                return

    def _row(self, columns: Mapping[str, Any]) -> Row:  # Any: values of the samples table
        name = columns["sample_id"]
        clips = tuple(ClipRef(ref["audio_part"], ref["audio_id"]) for ref in columns["audio_refs"])
        try:
            turns = tuple(
                Turn(turn["role"], tuple(self._span(span, clips) for span in turn["content"]))
                for turn in columns["messages"]
            )
        except ValueError as error:
            raise ShardError(f"{self._root}: sample {name}: {error}; {_REMEDY}") from error
        return Row(
            sample_id=name,
            kind=columns["kind"],
            task=columns["task"],
            turns=turns,
            clips=clips,
            columns=columns,
        )

    def _span(self, span: Mapping[str, Any], clips: Sequence[ClipRef]) -> Text | Heard:
        match span["type"]:
            case "text":
                return Text(span["text"] or "", bool(span["supervised"]))
            case "audio":
                return self._heard(span, clips)
            case other:
                raise ValueError(f"a span must be text or audio, got {other!r}")

    def _heard(self, span: Mapping[str, Any], clips: Sequence[ClipRef]) -> Heard:
        index, start, num_samples = span["audio_index"], span["start_sample"], span["num_samples"]
        if index is None or not 0 <= index < len(clips):
            raise ValueError(f"audio_index must name one of {len(clips)} clips, got {index}")
        facts = self._facts(clips[index].part).get(clips[index].audio_id)
        if facts is None:
            raise ValueError(
                f"its clip {clips[index].audio_id} must be in audio/"
                f"{part_name(clips[index].part)}, is not"
            )
        if facts.rate_hz <= 0:
            raise ValueError(f"its clip must have a rate above 0, got {facts.rate_hz}")
        if None in (start, num_samples) or not 0 <= start < start + num_samples <= (
            facts.num_samples
        ):
            raise ValueError(
                f"a stretch must lie in its clip of {facts.num_samples} samples, got "
                f"{num_samples} from {start}"
            )
        return Heard(
            clip=clips[index],
            index=index,
            start=start,
            num_samples=num_samples,
            gain_db=span["gain_db"] or 0.0,
            facts=facts,
        )

    def _read_facts(self, part: int) -> dict[str, ClipFacts]:
        path = self._root / "audio" / part_name(part)
        if not path.exists():
            return {}
        names = ("sampling_rate", "num_channels", "num_samples", "codec", "transcript", "language")
        table = read_part(path, ["audio_id", *names])
        return {
            row["audio_id"]: ClipFacts(
                rate_hz=Hertz(row.pop("sampling_rate")),
                **{name: row[name] for name in names[1:]},
            )
            for row in table.to_pylist()
        }


def _chosen(table: pa.Table, selection: Selection) -> pa.Array:
    chosen = pc.equal(table["split"], selection.split)
    if selection.eval_group != "all":
        chosen = pc.and_(chosen, pc.equal(table["eval_group"], selection.eval_group))
    for name, wanted in (("task", selection.tasks), ("kind", selection.kinds)):
        if wanted:
            chosen = pc.and_(chosen, pc.is_in(table[name], value_set=pa.array(wanted)))
    return chosen
