"""Rows of every shape that recipes make or may come to make, about clips `a` and `b`."""

from collections.abc import Callable
from typing import Any

from made_datasets import heard, sample_row, text

Row = dict[str, Any]
RATE = 16_000


def plain_row(name: str = "s0") -> Row:
    """A question about all of clip `a`; tests change what they are about."""
    row = sample_row(name, audio_id="made/1/x/a", num_samples=RATE, part=0, answer="rain")
    return row | {"response": "rain", "recipe": "self_powered", "language": "en"}


def two_clips(row: Row) -> None:
    row["audio_refs"].append({"audio_part": 0, "audio_id": "made/1/x/b"})
    row["messages"][0]["content"] += [text(" And this? "), heard(RATE // 2, clip=1)]


def two_clips_together(row: Row) -> None:
    row["audio_refs"].append({"audio_part": 0, "audio_id": "made/1/x/b"})
    row["messages"][0]["content"].append(heard(RATE // 2, clip=1))


def one_stretch(row: Row) -> None:
    row["messages"][0]["content"] = [text("Go on: the rain "), heard(8_000, start=4_000)]


def cut_up(row: Row) -> None:
    row["kind"] = "interleaved"
    spans = [heard(5_000), text(" and the fog "), heard(4_000, start=9_000)]
    row["messages"][0]["content"] = [text("Write it down.\n\n"), *spans]


def answered_on(row: Row) -> None:
    row["messages"] += [
        {"role": "user", "content": [text("In one word?")]},
        {"role": "assistant", "content": [text("wet", supervised=True)]},
    ]
    row["response"] = "wet"


def told_before(row: Row) -> None:
    row["messages"].insert(0, {"role": "system", "content": [text("Be brief.")]})


def unheard(row: Row) -> None:
    row["audio_refs"] = []
    row["messages"][0]["content"] = [text("What falls from clouds?")]


SHAPES: dict[str, Callable[[Row], None]] = {
    "one clip": lambda _row: None,
    "several clips": two_clips,
    "several clips together": two_clips_together,
    "one stretch": one_stretch,
    "interleaved": cut_up,
    "several turns": answered_on,
    "system": told_before,
    "text only": unheard,
}
