"""A small speech encoder: log-mel features, a Whisper encoder, and a head that names words.

The folder is one that `transformers.AutoModel` loads as any Whisper: `config.json`,
`model.safetensors` (16 bit) and `preprocessor_config.json`. Its decoder has no layers. What
Whisper has no place for, the head that turns positions into words, stands beside them in
`ctc_head.safetensors`; its words are `ctc_words` in the configuration.

Whisper pads everything to 30 s and ignores padding in a batch. Here a clip is as long as it
is: 100 frames a second become 50 positions a second, and what pads a batch is masked after
every step that could carry it further, so that a clip gives the same in a batch and alone.

    samples (16 kHz) -> log_mel (80, frames) -> encode (positions, hidden) -> words
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sllm_data.errors import ModelError
from sllm_data.testbed.lexicon import spoken_words
from sllm_data.units import Hertz

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import WhisperFeatureExtractor, WhisperModel

ENCODER_RATE_HZ = Hertz(16_000)
MAX_FRAMES = 3_000
"""Of the longest clip, 30 s; a frame is 10 ms."""

_NUM_MELS = 80
_HOP = 160  # samples between frames
_WINDOW = 400  # samples of a frame
HEAD = "ctc_head.safetensors"
_WAVELENGTHS = (6.0, 400.0)  # of the table of positions, in positions


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSize:
    """The shape of the Whisper encoder."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int


@dataclass(frozen=True, slots=True)
class Encoder:
    """A Whisper encoder that takes clips at their true length, and its head."""

    whisper: "WhisperModel"
    head: "nn.Linear"
    """Its output 0 is CTC's blank, output i + 1 is word i of `words`."""

    @property
    def words(self) -> list[str]:
        """What it can hear."""
        words: list[str] = self.whisper.config.ctc_words
        return words

    def encode(self, features: "Tensor", num_frames: "Tensor") -> "Tensor":
        """Encodes a batch.

        Args:
            features: Shape (clips, 80, frames); zero behind the end of each clip.
            num_frames: Shape (clips,): frames of each clip, 1 at least.

        Returns:
            Shape (clips, positions, hidden); a clip has (its frames + 1) // 2 positions, what
            stands behind them means nothing.
        """
        import torch  # noqa: PLC0415 - its import takes seconds
        from torch.nn.functional import gelu  # noqa: PLC0415 - as above

        encoder = self.whisper.encoder
        frames = torch.arange(features.shape[-1], device=features.device)
        inside = frames < num_frames[:, None]
        states = gelu(encoder.conv1(features)) * inside[:, None]
        states = gelu(encoder.conv2(states)).transpose(1, 2)
        states = states + encoder.embed_positions.weight[: states.shape[1]]
        mask = inside[:, ::2].to(states.dtype).log()  # 0 inside, minus infinity behind
        for layer in encoder.layers:
            states = layer(states, mask[:, None, None])
        normed: torch.Tensor = encoder.layer_norm(states)
        return normed

    def transcribe(self, samples: npt.NDArray[np.int16]) -> str:
        """Writes down what is said: the likeliest word, or none, at every position.

        Args:
            samples: Shape (num_samples,), mono, at 16 kHz.

        Raises:
            ValueError: The clip is shorter than 25 ms or longer than 30 s.
        """
        return self.transcribe_all([samples])[0]

    def transcribe_all(self, clips: Sequence[npt.NDArray[np.int16]]) -> list[str]:
        """Does the same with several clips at once, padded to the longest of them.

        Raises:
            ValueError: A clip is shorter than 25 ms or longer than 30 s.
        """
        import torch  # noqa: PLC0415 - its import takes seconds
        from torch.nn.utils.rnn import pad_sequence  # noqa: PLC0415 - as above

        features = [torch.from_numpy(log_mel(samples)).T for samples in clips]
        num_frames = torch.tensor([len(each) for each in features])
        with torch.inference_mode():
            states = self.encode(pad_sequence(features, batch_first=True).mT, num_frames)
            labels = self.head(states).argmax(dim=-1)
        return [
            " ".join(self.words[label - 1] for label, _ in groupby(each[:positions]) if label)
            for each, positions in zip(
                labels.tolist(), ((num_frames + 1) // 2).tolist(), strict=True
            )
        ]

    def save(self, folder: Path) -> None:
        """Writes the model folder; files in it are overwritten."""
        from safetensors.torch import save_file  # noqa: PLC0415 - its import takes seconds

        folder.mkdir(parents=True, exist_ok=True)
        deepcopy(self.whisper).half().save_pretrained(folder)
        head = {name: value.half() for name, value in self.head.state_dict().items()}
        save_file(head, folder / HEAD)
        feature_extractor().save_pretrained(folder)


def load_encoder(folder: Path) -> Encoder:
    """Reads what Encoder.save wrote.

    Raises:
        ModelError: The folder lacks one of its files, or a file is broken.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - its import takes seconds
    from safetensors.torch import load_file  # noqa: PLC0415 - as above
    from torch import float32  # noqa: PLC0415 - as above
    from transformers import WhisperModel  # noqa: PLC0415 - as above

    for name in ("config.json", "model.safetensors", HEAD):
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder}: must hold {name} of a speech encoder, there is none; make one with "
                "`sllm-data testbed build`"
            )
    try:
        whisper = WhisperModel.from_pretrained(folder, dtype=float32, local_files_only=True)
        head = _head(whisper)
        head.load_state_dict(load_file(folder / HEAD))
    except (OSError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        raise ModelError(f"{folder}: must hold a speech encoder, found: {error}") from error
    return Encoder(whisper.eval(), head)


def new_encoder(size: EncoderSize) -> Encoder:
    """Returns an encoder of the world's words; its weights are drawn from torch's generator."""
    from torch import nn  # noqa: PLC0415 - its import takes seconds
    from transformers import WhisperConfig, WhisperModel  # noqa: PLC0415 - as above

    config = WhisperConfig(
        num_mel_bins=_NUM_MELS,
        d_model=size.hidden,
        encoder_layers=size.layers,
        encoder_attention_heads=size.heads,
        encoder_ffn_dim=size.feed_forward,
        # Whisper's own 0.02 suits its width; here positions would drown what is heard.
        init_std=1 / math.sqrt(size.hidden),
        max_source_positions=MAX_FRAMES // 2,
        # There is no decoder, but AutoModel makes one: it is as small as it can be.
        decoder_layers=0,
        vocab_size=1,
        max_target_positions=1,
        ctc_words=sorted(spoken_words()),
        **dict.fromkeys(
            ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0
        ),
    )
    whisper = WhisperModel(config)
    whisper.encoder.embed_positions.weight.copy_(
        _positions(config.max_source_positions, size.hidden)
    )
    for layer in whisper.encoder.layers:  # each begins as if it were not there
        nn.init.zeros_(layer.self_attn.out_proj.weight)
        nn.init.zeros_(layer.fc2.weight)
    return Encoder(whisper, _head(whisper))


def _positions(count: int, hidden: int) -> "Tensor":
    """Returns sines and cosines with wavelengths from 0.12 s to 8 s: shape (count, hidden).

    Whisper's own reach to 20 minutes: what is learnt from sentences then fails behind the
    place where they end. Here all that is to be seen is how far apart two positions are.
    """
    import torch  # noqa: PLC0415 - its import takes seconds

    shortest, longest = _WAVELENGTHS
    steps = torch.linspace(0, 1, hidden // 2)
    wavelengths = shortest * (longest / shortest) ** steps
    phases = 2 * math.pi * torch.arange(count)[:, None] / wavelengths
    return torch.cat([phases.sin(), phases.cos()], dim=1)


def _head(whisper: "WhisperModel") -> "nn.Linear":
    from torch import nn  # noqa: PLC0415 - its import takes seconds

    return nn.Linear(whisper.config.d_model, len(whisper.config.ctc_words) + 1)


@cache
def feature_extractor() -> "WhisperFeatureExtractor":
    """Returns Whisper's feature extractor for 80 mels."""
    from transformers import WhisperFeatureExtractor  # noqa: PLC0415 - its import takes seconds

    return WhisperFeatureExtractor(feature_size=_NUM_MELS)


def log_mel(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Returns Whisper's features at the clip's true length: shape (80, num_samples // 160).

    Args:
        samples: Shape (num_samples,), mono, at 16 kHz.

    Raises:
        ValueError: The clip is shorter than 25 ms or longer than 30 s.
    """
    if not _WINDOW <= len(samples) < (MAX_FRAMES + 1) * _HOP:
        raise ValueError(
            f"samples must be 25 ms to 30 s, got {len(samples) / ENCODER_RATE_HZ:.3f} s"
        )
    features = feature_extractor()(
        samples.astype(np.float32) / 2**15,
        sampling_rate=ENCODER_RATE_HZ,
        padding="do_not_pad",
        truncation=False,
        return_tensors="np",
    )
    found: npt.NDArray[np.float32] = features["input_features"][0]
    return found


def transcribe(folder: Path, samples: npt.NDArray[np.int16]) -> str:
    """Writes down what is said in one clip; see load_encoder and Encoder.transcribe."""
    return load_encoder(folder).transcribe(samples)


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Counts the words to insert, delete or replace in `heard` to get `said`.

    >>> word_errors("anna sold the lamps".split(), "anna the two lamps".split())
    2
    """
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, start=1):
        diagonal, row[0] = row[0], number
        for column, other in enumerate(heard, start=1):
            replaced = diagonal + (word != other)
            diagonal = row[column]
            row[column] = min(replaced, row[column] + 1, row[column - 1] + 1)
    return row[-1]


def word_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Returns the word errors of all texts by the words that were said."""
    pairs = [(a.split(), b.split()) for a, b in zip(said, heard, strict=True)]
    return sum(word_errors(a, b) for a, b in pairs) / sum(len(a) for a, _ in pairs)
