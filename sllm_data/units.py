"""Units of time and rate as types, and the one place where seconds become samples.

Intervals are [start, stop) everywhere. Arithmetic is done in integer samples; seconds
appear only at the doors (configuration, corpus tables, reports).
"""

import math
from typing import NewType

Seconds = NewType("Seconds", float)
"""A duration or an absolute time in seconds."""

Samples = NewType("Samples", int)
"""A count of audio frames at the native rate of the audio they belong to."""

Hertz = NewType("Hertz", int)
"""A sampling rate, in frames per second."""


def to_samples(time_s: Seconds, rate_hz: Hertz) -> Samples:
    """Converts an absolute time to the nearest sample; ties go up.

    Convert absolute times and subtract the integers: converting differences rounds twice
    and two views of one boundary can then disagree by a sample.

    >>> to_samples(Seconds(0.5), Hertz(16_000))
    8000
    """
    return Samples(math.floor(time_s * rate_hz + 0.5))


def to_seconds(num_samples: Samples, rate_hz: Hertz) -> Seconds:
    """Converts a sample count to seconds.

    >>> to_seconds(Samples(24_000), Hertz(16_000))
    1.5
    """
    return Seconds(num_samples / rate_hz)
