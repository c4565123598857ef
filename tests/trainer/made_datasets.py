"""Small datasets, written row by row, so that each test says what is odd about its own."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile as sf

from sllm_data.shards import TABLES, part_name, write_part
from sllm_data.trainer.geometry import AudioGeometry

Row = dict[str, Any]
BACKBONE = "sllm_data/testbed/assets/backbone"
GEOMETRY = AudioGeometry(window=17)
_WORDS = ["rain", "fog", "ferry", "late", "harbour", "bread", "stone", "window", "kitchen"]


def blank(kind: pa.DataType) -> Any:
    """A value of an Arrow type that says nothing."""
    if pa.types.is_struct(kind):
        return {inner.name: blank(inner.type) for inner in kind}
    if pa.types.is_list(kind):
        return []
    if pa.types.is_string(kind):
        return ""
    if pa.types.is_boolean(kind):
        return False
    return b"" if pa.types.is_binary(kind) else 0


def blank_row(table: str) -> Row:
    return {f.name: None if f.nullable else blank(f.type) for f in TABLES[table].arrow}


def noise(num_samples: int, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([num_samples, seed])
    return rng.integers(-3000, 3000, (num_samples, channels), dtype=np.int16)


def flac(samples: np.ndarray, rate: int) -> bytes:
    content = io.BytesIO()
    sf.write(content, samples, rate, format="FLAC")
    return content.getvalue()


def audio_row(audio_id: str, content: bytes, *, num_samples: int, rate: int) -> Row:
    return blank_row("audio") | {
        "audio_id": audio_id,
        "audio": {"bytes": content, "path": f"{audio_id}.flac"},
        "sampling_rate": rate,
        "num_samples": num_samples,
    }


def text(content: str, *, supervised: bool = False) -> Row:
    return {"type": "text", "text": content, "supervised": supervised}


def heard(num_samples: int, *, start: int = 0, clip: int = 0, gain_db: float | None = None) -> Row:
    return {
        "type": "audio",
        "audio_index": clip,
        "start_sample": start,
        "num_samples": num_samples,
        "gain_db": gain_db,
        "supervised": False,
    }


def sample_row(sample_id: str, *, audio_id: str, num_samples: int, part: int, answer: str) -> Row:
    """A question about a whole clip; tests change what they are about."""
    return blank_row("samples") | {
        "sample_id": sample_id,
        "kind": "instruct",
        "task": "transcription",
        "split": "train",
        "eval_group": "train",
        "finish_reason": "stop",
        "audio_refs": [{"audio_part": part, "audio_id": audio_id}] if audio_id else [],
        "messages": [
            {"role": "user", "content": [text("Write it down.\n\n"), heard(num_samples)]},
            {"role": "assistant", "content": [text(answer, supervised=True)]},
        ],
        "text_messages": [
            {"role": "user", "content": f"Write it down.\n\n{answer}"},
            {"role": "assistant", "content": answer},
        ],
        "source": {"corpus": "made", "version": "", "licence": "", "attribution": ""},
    }


@dataclass
class Made:
    """A dataset that is about to be written: parts of rows of samples and of audio."""

    samples: list[list[Row]] = field(default_factory=list)
    audio: list[list[Row]] = field(default_factory=list)

    def write(self, root: Path) -> Path:
        for table, parts in (("samples", self.samples), ("audio", self.audio)):
            for number, rows in enumerate(parts):
                name = f"{table}/{part_name(number)}"
                write_part(root, name, rows, table=TABLES[table], identity="test")
        return root

    def all_samples(self) -> Iterator[Row]:
        for part in self.samples:
            yield from part


def make(*, parts: int = 4, rows: int = 9, seed: int = 0) -> Made:
    """Clips of 0.02 s to 4 s at three rates, each with one question."""
    rng = np.random.default_rng(seed)
    made = Made()
    for part in range(parts):
        samples, audio = [], []
        for row in range(rows):
            rate = (16_000, 8_000, 44_100)[row % 3]
            num_samples = int(rate * (0.02 if row == 1 else rng.uniform(0.3, 4)))
            audio_id = f"made/1/{seed}/{part}-{row}"
            content = flac(noise(num_samples, channels=1 + (row == 2), seed=part), rate)
            answer = " ".join(rng.choice(_WORDS, int(rng.integers(1, 12))))
            audio.append(audio_row(audio_id, content, num_samples=num_samples, rate=rate))
            samples.append(
                sample_row(
                    f"s{seed}-{part}-{row}",
                    audio_id=audio_id,
                    num_samples=num_samples,
                    part=part,
                    answer=answer,
                )
            )
        made.samples.append(samples)
        made.audio.append(audio)
    return made


def ids(batches: Iterable[Any]) -> list[str]:
    return [sample_id for batch in batches for sample_id in batch.sample_ids]
