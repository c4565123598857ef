"""Whisper's encoder, over a pack of clips at their true length.

transformers' own pads every clip to 30 s. Here the clips of a pack stand one behind the other
and share each matrix product; what a clip gives does not depend on its neighbours:

    frames    [ clip 1 ... ] 0 [ clip 2 ... ] 0 0 ...   a gap of zeros after each; clips begin at
                                                        even places, as the second convolution
                                                        takes every other frame
    conv 1    masked again in the gaps, because a convolution of zeros is its bias
    conv 2    two frames a position; those of gaps are left out
    layers    attention inside each clip, positions from 0 in each

A clip that is longer than the encoder has positions for is cut into chunks, each encoded by
itself. With `pad_to_30s` every chunk is followed by silence as far as the encoder reaches, and
the positions of silence are left out behind the last layer.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import WhisperModel

from sllm_data.errors import ModelError
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.kept import Kept
from sllm_data.trainer.model.attention import Kernel, segments_of
from sllm_data.trainer.model.config import EncoderConfig
from sllm_data.trainer.model.pretrained import read_config, read_model
from sllm_data.trainer.model.states import kept_states

_FLOOR = -1.5  # of Whisper's features: no energy at all
_DEPTH = 2.0  # how far below its loudest frame the features of a clip end
_NO_DROPOUT = dict.fromkeys(
    ("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop"), 0.0
)


class SpeechEncoder(nn.Module):  # type: ignore[misc]  # torch's types are not read
    """Frames of clips -> states of their positions, two frames each.

    Args:
        whisper: transformers' encoder, its attention already replaced.
        geometry: How clips are cut into chunks.
        taps: After which layers, from 1, states are read; where empty, behind the last one, as
            Whisper's decoder would see them.
        kernel: What computes attention.
        pad_to_30s: Whether silence is put behind each chunk.
        kept: States of clips that were encoded already; none are kept where None. Only for an
            encoder that is not trained.
    """

    def __init__(
        self,
        whisper: nn.Module,
        *,
        geometry: AudioGeometry,
        taps: Sequence[int] = (),
        kernel: Kernel = "sdpa",
        pad_to_30s: bool = False,
        kept: Kept | None = None,
    ) -> None:
        super().__init__()
        self.whisper = whisper
        self.geometry = geometry
        self.taps = tuple(taps)
        self.kernel = kernel
        self.pad_to_30s = pad_to_30s
        self.kept = kept

    @property
    def num_mels(self) -> int:
        """Features of a frame."""
        found: int = self.whisper.config.num_mel_bins
        return found

    def forward(self, features: Tensor, clip_frames: Sequence[int]) -> Tensor:
        """Encodes a pack.

        Args:
            features: float32 (F, M), frames of all clips one behind the other.
            clip_frames: Of each clip; their sum is F.

        Returns:
            Shape (taps, T, hidden), one tap where none was chosen; T is the sum of
            `geometry.num_encoded` over the clips.

        Raises:
            ModelError: The frames have another number of mels than the encoder was made for.
        """
        if features.shape[1] != self.num_mels:
            raise ModelError(
                f"features must have {self.num_mels} mels for this encoder, found "
                f"{features.shape[1]}; compute them with the encoder's own preprocessor_config"
            )
        trained = any(parameter.requires_grad for parameter in self.whisper.parameters())
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            if self.kept is not None:
                return kept_states(self.kept, features, clip_frames, self._encode)
            return self._encode(features, clip_frames)

    def _encode(self, features: Tensor, clip_frames: Sequence[int]) -> Tensor:
        device = features.device
        chunks = [frames for clip in clip_frames for frames in self.geometry.chunks(clip)]
        full = 2 * self.whisper.config.max_source_positions
        runs = [full] * len(chunks) if self.pad_to_30s else chunks
        slots = [run + 2 - run % 2 for run in runs]  # a gap of one or two; an even number
        starts = [0, *accumulate(slots)]

        frames = features.new_zeros(starts[-1], self.num_mels)
        if self.pad_to_30s:
            silence = self._silence(features, clip_frames)
            frames[_places(starts, runs).to(device)] = silence.repeat_interleave(
                torch.tensor(runs, device=device)
            )[:, None]
        frames[_places(starts, chunks).to(device)] = features
        inside = torch.zeros(starts[-1], dtype=features.dtype)
        inside[_places(starts, runs)] = 1

        whisper = self.whisper
        frames = frames.to(whisper.conv1.weight.dtype)
        states = gelu(whisper.conv1(frames.T[None]))
        states = gelu(whisper.conv2(states * inside.to(device, states.dtype)))[0].T
        lengths = [(run + 1) // 2 for run in runs]
        states = states[_places([start // 2 for start in starts], lengths).to(device)]
        table = _places([0] * len(lengths), lengths).to(device)
        states = self._layers(states + whisper.embed_positions.weight[table], lengths)
        if self.pad_to_30s:
            kept = _places([0, *accumulate(lengths)], [(chunk + 1) // 2 for chunk in chunks])
            states = states[:, kept.to(device)]
        return states

    def _layers(self, states: Tensor, lengths: Sequence[int]) -> Tensor:
        segments = segments_of(lengths, causal=False, kernel=self.kernel, device=states.device)
        tapped = []
        states = states[None]
        for number, layer in enumerate(self.whisper.layers, start=1):
            states = layer(states, None, segments=segments)
            if number in self.taps:
                tapped.append(states)
            if number == max(self.taps, default=0):
                return torch.cat(tapped)  # deeper layers are not read
        normed: Tensor = self.whisper.layer_norm(states)
        return normed

    def _silence(self, features: Tensor, clip_frames: Sequence[int]) -> Tensor:
        """Returns for each chunk what Whisper's features make of silence in its clip."""
        loudest = [clip.max() for clip in features.split(list(clip_frames))]
        counts = torch.tensor([len(self.geometry.chunks(clip)) for clip in clip_frames])
        floors = (torch.stack(loudest) - _DEPTH).clamp(min=_FLOOR)
        return floors.repeat_interleave(counts.to(floors.device))


def _places(starts: Sequence[int], lengths: Sequence[int]) -> Tensor:
    """Returns where runs of places stand, one behind the other: int64 (sum of lengths,).

    >>> _places([0, 6], [2, 3]).tolist()
    [0, 1, 6, 7, 8]
    """
    counts = torch.tensor(lengths)
    shifts = torch.tensor(starts[: len(lengths)]) - (counts.cumsum(0) - counts)
    return torch.arange(int(counts.sum())) + shifts.repeat_interleave(counts)


def load_whisper(config: EncoderConfig, *, dtype: torch.dtype) -> nn.Module:
    """Reads a Whisper and keeps its encoder, on the CPU.

    Raises:
        ModelError: There is no such model, it is no Whisper, or weights are missing.
    """
    what = "a Whisper of transformers"
    found = read_config(config.model, config.revision, what=what)
    if found.model_type != "whisper":
        raise ModelError(f"{config.model}: must hold {what}, found a {found.model_type}")
    whisper = read_model(
        WhisperModel,
        config.model,
        config.revision,
        dtype=dtype,
        what=what,
        prefix="encoder.",
        **_NO_DROPOUT,
    )
    encoder: nn.Module = whisper.encoder
    return encoder
