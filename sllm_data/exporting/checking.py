"""What exported rows must be, said once: keys with their types, marks, files, times.

Checks read what was written and know nothing of how it was. Sound is looked at by its header
alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import soundfile as sf

from sllm_data.audio.claims import flac_claim, is_flac
from sllm_data.audio.decode import TOLERANCE_S, UndecodableAudioError, stream_of
from sllm_data.errors import ShardError
from sllm_data.files import inside, is_file

Json = Mapping[str, Any]  # Any: JSON values
_ROLES = ("system", "user", "assistant")
_ROUNDING_S = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Sound:
    """What the header of a sound in memory says."""

    num_samples: int
    rate_hz: int
    slack: float
    """Samples by which it may be wrong: as many as `decode` lets a clip differ."""


def must(condition: object, where: str, rule: str) -> None:
    """Demands something of a row.

    Raises:
        ShardError: It is not so.
    """
    if not condition:
        raise ShardError(f"{where}: {rule}")


def check_keys(row: Json, where: str, **types: type | tuple[type, ...]) -> None:
    """Demands an object with keys, each with a value of a type.

    Raises:
        ShardError: It is none, or one is missing, or something else.
    """
    must(isinstance(row, dict), where, f"must be an object, got {type(row).__name__}")
    for name, kind in types.items():
        must(name in row, where, f"must have the key {name!r}, has {', '.join(map(repr, row))}")
        value = row[name]
        is_kind = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
        must(is_kind, where, f"{name} must be {_named(kind)}, got {type(value).__name__}")


def check_messages(messages: Sequence[Json], where: str) -> None:
    """Demands messages with role and content: a system one or none, then by turns.

    Raises:
        ShardError: They are not so.
    """
    for number, message in enumerate(messages):
        check_keys(message, f"{where}: message {number}", role=str, content=str)
    roles = [message["role"] for message in messages]
    said = roles[1:] if roles[:1] == [_ROLES[0]] else roles
    must(
        said and said == list(_ROLES[1:]) * (len(said) // 2),
        where,
        f"roles must be user and assistant by turns, got {roles}",
    )


def check_marks(text: str, mark: str, num: int, where: str) -> None:
    """Demands as many marks in a text as there are files.

    Raises:
        ShardError: There are more or fewer.
    """
    found = text.count(mark)
    must(found == num, where, f"must have as many {mark} as audio files, has {found} for {num}")


def check_stretch(path: Path, offset: float, duration: float, where: str) -> None:
    """Demands that a stretch of a file is in it.

    Args:
        path: The file.
        offset: Seconds.
        duration: Seconds.
        where: Of the row.

    Raises:
        ShardError: It begins or ends outside.
    """
    lasts = seconds_of(path)
    must(offset >= 0, where, f"offset must be 0 or more, got {offset}")
    must(duration > 0, where, f"duration must be above 0, got {duration}")
    # the header of an MP3 may count encoder padding or not
    slack = TOLERANCE_S if path.suffix == ".mp3" else _ROUNDING_S
    must(
        offset + duration <= lasts + slack,
        where,
        f"must end within the {lasts:.3f} s of {path.name}, ends at {offset + duration:.3f} s",
    )


def check_spans(messages: Sequence[Json], sounds: Sequence[Sound], where: str) -> int:
    """Demands messages whose audio spans lie in the row's clips; returns how many there are.

    Raises:
        ShardError: A span names no clip, or begins or ends outside.
    """
    heard = 0
    for message in messages:
        check_keys(message, where, content=list)
        for span in message["content"]:
            check_keys(span, where, type=str)
            if span["type"] == "audio":
                _check_span(span, sounds, where)
                heard += 1
    return heard


def _check_span(span: Json, sounds: Sequence[Sound], where: str) -> None:
    check_keys(span, where, audio_index=int, start_sample=int, num_samples=int)
    there = 0 <= span["audio_index"] < len(sounds)
    must(there, where, "audio_index must name one of its clips")
    sound = sounds[span["audio_index"]]
    start, end = span["start_sample"], span["start_sample"] + span["num_samples"]
    must(0 <= start < end, where, f"must hear samples of its clip, got {start} to {end}")
    fits = end <= sound.num_samples + sound.slack
    rule = f"must end within the {sound.num_samples} samples of its clip, ends at {end}"
    must(fits, where, rule)


def sound_in(content: bytes, where: str) -> Sound:
    """Returns what the header of a sound in memory says.

    Raises:
        ShardError: It is no sound, or there is none in it.
    """
    try:
        with stream_of(content) as stream:
            claimed = flac_claim(content) if is_flac(content) else stream.num_claimed
            container, rate_hz = stream.container, stream.sampling_rate
    except UndecodableAudioError as error:
        raise ShardError(f"{where}: must be a sound file: {error}") from error
    must(claimed != 0, where, "must hold samples, holds none")
    if claimed is None or container == "MP3":  # it says nothing, or counts encoder padding or not
        return Sound(num_samples=claimed or 0, rate_hz=rate_hz, slack=math.inf)
    slack = 0 if container == "FLAC" else TOLERANCE_S * rate_hz
    return Sound(num_samples=claimed, rate_hz=rate_hz, slack=slack)


def sound_file(folder: Path, name: object, where: str) -> Path:
    """Returns a sound file of the folder that has samples.

    Raises:
        ShardError: There is none.
    """
    path = inside(folder, name) if isinstance(name, str) else None
    if path is None or not is_file(path):
        raise ShardError(f"{where}: must name a file of the folder, got {name}")
    seconds_of(path)
    return path


def seconds_of(path: Path) -> float:
    """Returns how long a sound file lasts, by its header.

    Raises:
        ShardError: It is no sound, or there is none in it.
    """
    stat = path.stat()
    return _seconds_of(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _seconds_of(path: Path, *_state: int) -> float:  # many rows hear one file
    try:
        info = sf.info(str(path))
    except sf.LibsndfileError as error:
        raise ShardError(f"{path}: must be a sound file: {error.error_string}") from error
    must(info.frames > 0, str(path), "must hold samples, holds none")
    return float(info.frames / info.samplerate)


def _named(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(each.__name__ for each in kinds)
