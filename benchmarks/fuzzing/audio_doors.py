"""The doors that sound comes through: whole clips, and segments of long ones.

libsndfile reads the bytes, so these doors belong in a process of their own. What soundfile or
a codec prints on the way is looked at too: a traceback on the screen is one that a user sees,
whatever comes of the clip.
"""

import io
import os
import random
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile as sf
from fuzzing.mutating import Mutator
from fuzzing.trial import Broken, Door, Taken, Target, must, shape_of, taken_from

from sllm_data.audio.decode import OverlongAudioError, UndecodableAudioError, decode
from sllm_data.audio.segments import BeyondEndError, SegmentReader, as_flac
from sllm_data.audio.window import FileWindow
from sllm_data.corpora.config import Bounds, LibriSpeechConfig
from sllm_data.corpora.opening import open_candidate
from sllm_data.records import Candidate, Rejection, Source, Speaker
from sllm_data.shards import TABLES
from sllm_data.units import Hertz, Seconds, to_samples

_RATE = 16_000
_MAX_PCM_BYTES = 64 * 2**20
_FASTEST = 48_000  # beyond it, a clip of 10 s may be larger


def _open_audio(folder: Path) -> Door:
    root = folder / "LibriSpeech"
    path = root / "dev-clean/1/2/1-2-0000.flac"
    path.parent.mkdir(parents=True)
    config = LibriSpeechConfig(kind="librispeech", path=root)
    bounds = Bounds(min_duration_s=0.01, max_duration_s=10)
    candidate = Candidate(
        audio_id="librispeech/slr12/dev-clean/1-2-0000",
        entry=0,
        audio_path="dev-clean/1/2/1-2-0000.flac",
        transcript="SAY IT",
        language="en",
        speaker=Speaker(id="1"),
        corpus_split=None,
        source=Source(corpus="librispeech", version="slr12", licence="", attribution=""),
    )

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        with _quiet(folder / "stderr"):
            opened = open_candidate(candidate, config=config, bounds=bounds)
        if isinstance(opened, Rejection):
            return taken_from([opened])
        utterance = opened.utterance
        must(opened.content == content, "the stored bytes are not those of the file")
        must(utterance.duration_s <= bounds.max_duration_s, "a clip beyond the bound")
        size = utterance.num_samples * utterance.num_channels * 2
        must(size <= _MAX_PCM_BYTES or utterance.sampling_rate > _FASTEST, f"{size} bytes decode")
        for name in ("sampling_rate", "num_samples", "num_channels"):
            column = TABLES["audio"].arrow.field(name)
            pa.array([getattr(utterance, name)], type=column.type)
        return Taken(shapes=frozenset({utterance.codec}))

    return door


_CUTS = ((0.0, 0.02), (0.03, 0.02), (0.035, 0.05), (0.01, 0.01), (0.09, 0.5), (0.0, None))
_MAX_CUT_S = 10.0


def _open_segments(folder: Path) -> Door:
    """Cuts in an order that goes back and forth; each must be that slice of the whole clip."""

    def door(content: bytes) -> Taken:
        with _quiet(folder / "stderr"):
            return _cut_up(content)

    return door


def _cut_up(content: bytes) -> Taken:
    try:
        whole = decode(content, max_duration_s=_MAX_CUT_S).samples
    except (UndecodableAudioError, OverlongAudioError):
        whole = None
    rejected: Counter[str] = Counter()
    shapes: set[str] = set()
    with SegmentReader(FileWindow(io.BytesIO(content), size=len(content))) as reader:
        for start_s, duration_s in _CUTS:
            try:
                cut = reader.cut(
                    Seconds(start_s),
                    None if duration_s is None else Seconds(duration_s),
                    max_duration_s=_MAX_CUT_S,
                )
                as_flac(cut.samples, reader.sampling_rate)
            except (UndecodableAudioError, OverlongAudioError, BeyondEndError) as error:
                rejected[type(error).__name__] += 1
                shapes.add(shape_of(str(error)))
                continue
            start = to_samples(Seconds(start_s), Hertz(reader.sampling_rate))
            if whole is not None:
                expected = whole[start : start + len(cut.samples)]
                same = np.array_equal(cut.samples, expected)
                must(same, f"the cut from {start_s} s is not that slice of the clip")
    good = len(_CUTS) - rejected.total()
    return Taken(good=good, rejected=dict(rejected), shapes=frozenset({*shapes, reader.codec}))


@contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Keeps what is printed to the screen's error stream, also from C, in a file.

    Raises:
        Broken: A traceback was printed.
    """
    screen = os.dup(2)
    with log.open("wb+") as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(screen, 2)
            os.close(screen)
        if sink.tell():
            sink.seek(0)
            said = sink.read().decode("utf-8", "replace")
            if "Traceback" in said:
                raise Broken(f"a traceback was printed: {said[-2_000:]}")


def _clips() -> list[bytes]:
    """Short clips in every container and coding that libsndfile writes."""
    time_s = np.arange(1_600) / _RATE
    wave = (0.5 * np.sin(2 * np.pi * 330 * time_s)).reshape(-1, 1)
    clips = []
    # SDS prints to the screen; SD2 leaves a file `._` behind, beside which MP3 can't be read
    for container in sf.available_formats().keys() - {"SDS", "SD2"}:
        for coding in sf.available_subtypes(container):
            for channels in (1, 2):
                target = io.BytesIO()
                try:
                    samples = np.repeat(wave, channels, axis=1)
                    sf.write(target, samples, _RATE, format=container, subtype=coding)
                except (sf.LibsndfileError, ValueError):
                    continue
                clips.append(target.getvalue())
    clips.sort(key=len)
    return [*[clip for clip in clips if clip][:-1], _with_chunks(clips[-1])]


def _with_chunks(rest: bytes) -> bytes:
    """A WAV file with chunks that hold text and cues before its samples."""
    samples = struct.pack("<800h", *range(800))
    form = struct.pack("<HHIIHH", 1, 1, _RATE, 2 * _RATE, 2, 16)
    chunks = {
        b"fmt ": form,
        b"LIST": b"INFOISFT\x05\x00\x00\x00fuzz\x00\x00",
        b"cue ": struct.pack("<I", 1) + bytes(24),
        b"smpl": bytes(36) + rest[:8],
        b"bext": bytes(602),
        b"data": samples,
    }
    body = b"".join(name + struct.pack("<I", len(body)) + body for name, body in chunks.items())
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def _craft_clip(rng: random.Random) -> bytes:
    """An Ogg file whose pages were changed and then given the right checksums."""
    clip = rng.choice([clip for clip in _CLIPS() if clip.startswith(b"OggS")])
    changed = _AUDIO.mutate(rng, clip, rng.choice(_CLIPS()))
    return _with_checksums(bytearray(changed))


def _with_checksums(ogg: bytearray) -> bytes:
    at = ogg.find(b"OggS")
    while 0 <= at <= len(ogg) - 27:
        after = ogg.find(b"OggS", at + 4)
        end = len(ogg) if after < 0 else after
        ogg[at + 22 : at + 26] = bytes(4)
        crc = 0
        for byte in ogg[at:end]:
            crc = (crc << 8 & 0xFFFF_FFFF) ^ _CRC[crc >> 24 ^ byte]
        ogg[at + 22 : at + 26] = crc.to_bytes(4, "little")
        at = after
    return bytes(ogg)


def _crc_of(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ (0x04C1_1DB7 if crc & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return crc


_CRC = [_crc_of(byte) for byte in range(256)]


class _Once:
    """Makes the clips when they are first asked for."""

    def __init__(self) -> None:
        self._clips: list[bytes] = []

    def __call__(self) -> list[bytes]:
        self._clips = self._clips or _clips()
        return self._clips


_CLIPS = _Once()
_AUDIO = Mutator(
    tokens=(
        *(
            b"RIFF",
            b"RIFX",
            b"RF64",
            b"WAVE",
            b"fmt ",
            b"data",
            b"LIST",
            b"fact",
            b"ds64",
            b"bext",
        ),
        *(b"fLaC", b"OggS", b"OpusHead", b"OpusTags", b"\x01vorbis", b"\x03vorbis", b"\x05vorbis"),
        *(b"ID3", b"\xff\xfb", b"\xff\xf3", b"Xing", b"Info", b"VBRI", b"LAME", b"TAG", b"FORM"),
        *(
            b"AIFF",
            b"AIFC",
            b"COMM",
            b"SSND",
            b".snd",
            b"caff",
            b"desc",
            b"riff",
            b"PVF1",
            b"NIST",
        ),
        *(b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x7f\xff\xff\xff"),
    ),
    hot="head",
    hot_bytes=160,
    max_bytes=1 << 16,
)
TARGETS = (
    Target(
        name="audio",
        open=_open_audio,
        seeds=_CLIPS,
        mutator=_AUDIO,
        craft=_craft_clip,
        in_child=True,
    ),
    Target(
        name="segments",
        open=_open_segments,
        seeds=_CLIPS,
        mutator=_AUDIO,
        craft=_craft_clip,
        in_child=True,
    ),
)
