from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from model_packs import MELS
from pydantic import ValidationError
from torch import Tensor

from sllm_data.trainer.flops import cost_of
from sllm_data.trainer.kept import Kept
from sllm_data.trainer.model.config import EncoderConfig
from sllm_data.trainer.model.encoder import SpeechEncoder
from sllm_data.trainer.model.states import kept_states


@dataclass
class Counted:
    """What encodes, and how often it was asked."""

    encoder: SpeechEncoder
    asked: list[int] = field(default_factory=list)

    def __call__(self, features: Tensor, clip_frames: Sequence[int]) -> Tensor:
        self.asked += clip_frames
        return self.encoder(features, clip_frames)


@pytest.fixture
def counted(new_model) -> Counted:
    return Counted(new_model().encoder)


def clip(frames: int, seed: int = 0) -> Tensor:
    return torch.randn(frames, MELS, generator=torch.Generator().manual_seed(seed))


def test_a_clip_is_encoded_once_and_gives_the_same_beside_any_other(counted):
    kept = Kept(2**20)
    known, new = clip(40), clip(24, seed=1)
    alone = kept_states(kept, known, [40], counted)
    both = kept_states(kept, torch.cat([new, known]), [24, 40], counted)

    assert counted.asked == [40, 24]
    assert torch.equal(both[:, 12:], alone)
    torch.testing.assert_close(both, counted.encoder(torch.cat([new, known]), [24, 40]))


def test_what_is_as_long_but_sounds_otherwise_is_another_clip(counted):
    kept = Kept(2**20)
    first = kept_states(kept, clip(40), [40], counted)
    second = kept_states(kept, clip(40) + 0.01, [40], counted)

    assert counted.asked == [40, 40]
    assert not torch.equal(first, second)


def test_no_more_is_kept_than_there_is_memory_for_and_the_first_stay(counted):
    size = counted.encoder(clip(40), [40]).nbytes
    kept = Kept(2 * size)
    for _ in range(2):
        for seed in range(3):
            kept_states(kept, clip(40, seed), [40], counted)

    assert (len(kept), kept.num_bytes) == (2, 2 * size)
    assert len(counted.asked) == 4  # the third one twice


def test_only_a_frozen_encoder_finds_the_same_again(whisper_folder):
    with pytest.raises(ValidationError, match="kept_gib must be 0 unless mode is frozen"):
        EncoderConfig(model=str(whisper_folder), mode="lora", kept_gib=1)
    assert EncoderConfig(model=str(whisper_folder), kept_gib=1).kept_gib == 1


def test_work_that_is_not_done_is_not_counted(new_model):
    model = new_model()
    assert cost_of(model).encoder.flops(100, 100.0) > 0
    model.encoder.kept = Kept(2**20)
    assert cost_of(model).encoder.flops(100, 100.0) == 0
