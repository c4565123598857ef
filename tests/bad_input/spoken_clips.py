"""Clips of noise, whole ones and ones with every fault that a file can have."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile as sf

HTML = b"<!DOCTYPE html><html><title>404 Not Found</title></html>"
_TOTAL_SAMPLES = slice(21, 26)  # of a FLAC header, with the four bits before them
_THREE_HOURS_S = 3 * 3600


def tar_of(members: Mapping[str, bytes | str]) -> bytes:
    """Returns a tar of files by their names; a text is where a link leads."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def clip(
    number: int,
    *,
    duration_s: float = 0.5,
    rate: int = 16_000,
    channels: int = 1,
    container: str = "FLAC",
    subtype: str | None = None,
) -> bytes:
    """Returns noise that is another for each number, since equal clips are duplicates."""
    shape = (round(duration_s * rate), channels)
    noise = np.random.default_rng(number).uniform(-0.3, 0.3, shape)
    target = io.BytesIO()
    sf.write(target, noise, rate, format=container, subtype=subtype)
    return target.getvalue()


def silence() -> bytes:
    target = io.BytesIO()
    sf.write(target, np.zeros(8_000, np.int16), 16_000, format="FLAC")
    return target.getvalue()


def cut_off(content: bytes) -> bytes:
    return content[: len(content) * 6 // 10]


def lying(number: int) -> bytes:
    """Returns a FLAC whose header claims half of its samples."""
    content = bytearray(clip(number))
    claimed = int.from_bytes(content[_TOTAL_SAMPLES])
    content[_TOTAL_SAMPLES] = (claimed - 4_000).to_bytes(5)
    return bytes(content)


def write_three_hours(path: Path) -> None:
    """Writes a FLAC of three hours at 8 kHz, a second of noise over and over."""
    second = np.random.default_rng(0).integers(-300, 301, 8_000).astype(np.int16)
    minute = np.tile(second, 60)
    with sf.SoundFile(path, "w", 8_000, 1, format="FLAC", subtype="PCM_16") as audio:
        for _ in range(_THREE_HOURS_S // 60):
            audio.write(minute)
