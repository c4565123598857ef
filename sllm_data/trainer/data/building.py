"""Encoded rows and the features of their stretches as one PackedBatch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sllm_data.audio.decode import DecodedClip, decode
from sllm_data.audio.features import hear, log_mel
from sllm_data.errors import SllmDataError
from sllm_data.trainer.batch import PackedBatch, PackedText
from sllm_data.trainer.data.encoding import EncodedRow, EncodedText, Numbers, Stretch
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.kept import Kept


@dataclass(frozen=True, kw_only=True, slots=True)
class HeardRow:
    """A row with the features of its stretches."""

    row: EncodedRow
    features: tuple[Tensor, ...]
    """float32 (frames, mels) of each stretch."""
    mels: int
    """Of a frame, also where there is none."""


class UnheardError(Exception):
    """A clip can't be heard; its text says which and why."""


def hear_row(
    row: EncodedRow,
    *,
    bytes_of: Callable[[int, str], bytes],
    geometry: AudioGeometry,
    dataset: int,
    kept: Kept,
) -> HeardRow:
    """Decodes the clips of a row and computes the features of its stretches.

    Args:
        row: Encoded.
        bytes_of: The encoded bytes of a clip by part and id.
        geometry: What the encoder hears.
        dataset: Its number.
        kept: Features by dataset and stretch; what is there is not decoded again.

    Raises:
        UnheardError: A clip can't be read or decoded, or is shorter than its part says.
    """
    clips: dict[tuple[int, str], DecodedClip] = {}

    def made(stretch: Stretch) -> Tensor:
        key = stretch.audio_part, stretch.audio_id
        try:
            if key not in clips:
                clips[key] = decode(bytes_of(*key))
        except SllmDataError as error:
            raise UnheardError(f"{stretch.audio_id}: {error}") from error
        return features_of(clips[key], stretch, geometry=geometry)

    features = tuple(kept.of((dataset, each), partial(made, each)) for each in row.stretches)
    return HeardRow(row=row, features=features, mels=geometry.mels)


def features_of(clip: DecodedClip, stretch: Stretch, *, geometry: AudioGeometry) -> Tensor:
    """Returns the features of a stretch: float32 (frames, mels).

    Raises:
        UnheardError: The stretch reaches beyond the samples that decode.
    """
    if stretch.start + stretch.num_samples > len(clip.samples):
        raise UnheardError(
            f"{stretch.audio_id}: must have {stretch.start + stretch.num_samples} samples or "
            f"more, {len(clip.samples)} decode"
        )
    heard = hear(
        clip,
        start=stretch.start,
        num_samples=stretch.num_samples,
        num_heard=stretch.num_heard,
        gain_db=stretch.gain_db,
    )
    return log_mel(heard, mels=geometry.mels)


def pack(rows: Sequence[HeardRow]) -> PackedBatch:
    """Puts rows one behind the other, at least one; twins too where every row has one."""
    encoded = [heard.row for heard in rows]
    stretches = [stretch for row in encoded for stretch in row.stretches]
    features = [each for heard in rows for each in heard.features]
    twins = [row.twin for row in encoded if row.twin is not None]
    sides = [row.text for row in encoded]
    return PackedBatch(
        text=_text(sides),
        audio_positions=_shifted(sides, [side.audio_positions for side in sides]),
        features=torch.cat(features) if features else torch.zeros(0, rows[0].mels),
        clip_frames=torch.tensor([each.num_frames for each in stretches], dtype=torch.int32),
        clip_positions=torch.tensor([each.num_positions for each in stretches], dtype=torch.int32),
        twin=_text(twins) if len(twins) == len(encoded) else None,
        sample_ids=tuple(row.sample_id for row in encoded),
        audio_seconds=sum(each.seconds for each in stretches),
    )


def _text(sides: Sequence[EncodedText]) -> PackedText:
    return PackedText(
        token_ids=_long([side.token_ids for side in sides]),
        position_ids=_long([np.arange(len(side), dtype=np.int32) for side in sides]),
        lengths=torch.tensor([len(side) for side in sides], dtype=torch.int32),
        label_positions=_shifted(sides, [side.label_positions for side in sides]),
        labels=_long([side.labels for side in sides]),
    )


def _shifted(sides: Sequence[EncodedText], positions: Sequence[Numbers]) -> Tensor:
    starts = np.cumsum([0, *map(len, sides)])
    return _long([each + start for each, start in zip(positions, starts, strict=False)])


def _long(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.int64))
