"""How many positions a clip takes in the LLM: integers only, so that packing opens no audio.

    samples (native rate) -> samples (16 kHz) -> frames (10 ms) -> positions of the encoder
    (20 ms) -> windows of the connector -> positions of the LLM

The model must give exactly as many; a test compares the two for every length.
"""

from dataclasses import dataclass

from sllm_data.units import Hertz

_MIN_SAMPLES = 400
"""A frame is computed from 25 ms; a shorter clip has silence put behind it."""


_ENCODER_RATE = Hertz(16_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioGeometry:
    """The arithmetic of one encoder with one connector."""

    rate_hz: Hertz = _ENCODER_RATE
    """Of what the encoder hears."""
    hop: int = 160
    """Samples between frames."""
    mels: int = 80
    """Of a frame: as many as the encoder was made for; 128 for whisper-large-v3."""
    max_frames: int = 3_000
    """Of one chunk: as many as the encoder has positions for. Longer clips are cut into chunks,
    each encoded by itself; an even number."""
    window: int
    """Positions of the encoder that the connector makes `queries` positions of the LLM from."""
    queries: int = 1
    """Positions of the LLM for each window, the last and shorter one included."""

    def __post_init__(self) -> None:
        if self.max_frames < 2 or self.max_frames % 2:  # noqa: PLR2004 - two frames a position
            raise ValueError(f"max_frames must be even, got {self.max_frames}")
        if self.window < 1 or self.queries < 1:
            raise ValueError(f"window and queries must be 1 or more, got {self}")

    def num_samples(self, num_samples: int, rate_hz: Hertz) -> int:
        """Returns the length at `rate_hz` of `self` of a clip that has another rate."""
        return max(_MIN_SAMPLES, -(-num_samples * self.rate_hz // rate_hz))

    def num_frames(self, num_samples: int, rate_hz: Hertz) -> int:
        """Returns the frames of a clip of so many samples at its own rate."""
        return self.num_samples(num_samples, rate_hz) // self.hop

    def chunks(self, num_frames: int) -> list[int]:
        """Returns the frames of each chunk of a clip: all but the last are full.

        >>> AudioGeometry(window=17, max_frames=3_000).chunks(7_001)
        [3000, 3000, 1001]
        """
        full, rest = divmod(num_frames, self.max_frames)
        return [self.max_frames] * full + ([rest] if rest else [])

    def num_encoded(self, num_frames: int) -> int:
        """Returns the positions of the encoder for so many frames."""
        return (num_frames + 1) // 2  # a full chunk is even: cutting adds none

    def num_positions(self, num_frames: int) -> int:
        """Returns the positions of the LLM for so many frames.

        >>> AudioGeometry(window=17).num_positions(300)  # 3 s, a window of 0.34 s
        9
        """
        return -(-self.num_encoded(num_frames) // self.window) * self.queries
