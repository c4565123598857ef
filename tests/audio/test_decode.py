import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sllm_data.audio import decode as decode_module
from sllm_data.audio.decode import (
    OverlongAudioError,
    UndecodableAudioError,
    decode,
    libsndfile_version,
)


def tone(duration_s: float = 1.0, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    time_s = np.arange(int(duration_s * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * 330 * time_s)
    return np.stack([wave * (0.5**channel) for channel in range(channels)], axis=1)


def encoded(samples: np.ndarray, rate: int, container: str, coding: str) -> bytes:
    target = io.BytesIO()
    sf.write(target, samples, rate, format=container, subtype=coding)
    return target.getvalue()


def with_flac_claim(content: bytes, num_samples: int) -> bytes:
    low = struct.pack(">I", num_samples & 0xFFFF_FFFF)
    high = bytes([content[21] & 0xF0 | num_samples >> 32])
    return content[:21] + high + low + content[26:]


FLAC = encoded(tone(), 16_000, "FLAC", "PCM_16")


@pytest.mark.parametrize(
    ("container", "coding", "rate", "channels"),
    [
        ("FLAC", "PCM_16", 16_000, 1),
        ("FLAC", "PCM_24", 96_000, 2),
        ("WAV", "PCM_16", 8_000, 1),
        ("WAV", "PCM_24", 44_100, 2),
        ("WAV", "PCM_32", 22_050, 1),
        ("WAV", "FLOAT", 16_000, 2),
        ("WAV", "DOUBLE", 16_000, 1),
        ("WAV", "ULAW", 8_000, 1),
        ("MP3", "MPEG_LAYER_III", 48_000, 1),
        ("OGG", "VORBIS", 44_100, 2),
        ("OGG", "OPUS", 48_000, 1),
    ],
)
def test_every_container_comes_out_at_its_rate_and_level(
    container: str, coding: str, rate: int, channels: int
) -> None:
    samples = tone(rate=rate, channels=channels)
    clip = decode(encoded(samples, rate, container, coding))
    assert clip.sampling_rate == rate
    assert clip.codec == f"{container}/{coding}".lower()
    assert clip.samples.dtype == np.int16
    assert clip.samples.shape == (rate, channels)
    middle = slice(rate // 4, rate // 2)  # lossy codings err at the edges
    error = clip.samples[middle] / 32768 - samples[middle]
    assert np.abs(error).max() < 0.05


@given(
    npst.arrays(np.int16, npst.array_shapes(min_dims=2, max_dims=2, max_side=8)),
    st.sampled_from(["FLAC", "WAV"]),
)
def test_16_bit_samples_survive_lossless_containers(samples: np.ndarray, container: str) -> None:
    assert np.array_equal(decode(encoded(samples, 16_000, container, "PCM_16")).samples, samples)


@given(npst.arrays(np.int16, st.tuples(st.integers(1, 50), st.just(1))))
def test_16_bit_samples_survive_a_float_wav(samples: np.ndarray) -> None:
    content = encoded(samples.astype(np.float32) / 32768, 16_000, "WAV", "FLOAT")
    assert np.array_equal(decode(content).samples, samples)


@pytest.mark.parametrize("coding", ["VORBIS", "OPUS"])
def test_ogg_above_full_scale_is_clipped_and_does_not_wrap_round(coding: str) -> None:
    content = encoded(np.sign(tone(rate=48_000)), 48_000, "OGG", coding)
    floats, _ = sf.read(io.BytesIO(content), always_2d=True)
    assert np.abs(floats).max() > 1.1
    assert np.abs(decode(content).samples / 32768 - np.clip(floats, -1, 1)).max() < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_float_wav_with_values_that_are_no_numbers_is_undecodable(value: float) -> None:
    content = encoded(np.array([0.1, value], np.float32), 16_000, "WAV", "FLOAT")
    with pytest.raises(UndecodableAudioError, match="finite"):
        decode(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 5_000,
        b"<!DOCTYPE html><html><body>404 not found</body></html>" * 40,
        b"version https://git-lfs.github.com/spec/v1\n",
        FLAC[:60],
        FLAC[: len(FLAC) // 2],
        encoded(np.empty((0, 1), np.int16), 16_000, "WAV", "PCM_16"),
    ],
    ids=["empty", "zeros", "html", "lfs pointer", "flac header", "half a flac", "no samples"],
)
def test_what_is_no_whole_clip_is_undecodable_with_one_line(content: bytes) -> None:
    with pytest.raises(UndecodableAudioError) as caught:
        decode(content)
    assert len(str(caught.value).splitlines()) == 1
    assert "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("claimed", [1_000, 15_999, 16_001, 2**36 - 1])
def test_a_flac_header_that_lies_about_its_length_is_found_out(claimed: int) -> None:
    with pytest.raises(UndecodableAudioError, match=f"says {claimed} samples, 16000 decode"):
        decode(with_flac_claim(FLAC, claimed))


def test_a_flac_of_unknown_length_decodes_to_its_end() -> None:
    assert len(decode(with_flac_claim(FLAC, 0)).samples) == 16_000


def test_a_damaged_flac_is_undecodable() -> None:
    damaged = bytearray(FLAC)
    damaged[len(FLAC) // 2 : len(FLAC) // 2 + 20] = b"x" * 20
    with pytest.raises(UndecodableAudioError):
        decode(bytes(damaged))


def test_a_wav_that_was_cut_off_is_undecodable() -> None:
    content = encoded(tone(), 16_000, "WAV", "PCM_16")
    with pytest.raises(UndecodableAudioError, match="1000 bytes of samples missing"):
        decode(content[:-1_000])


def test_an_mp3_shorter_than_its_frame_count_is_undecodable() -> None:
    content = encoded(tone(4.0), 48_000, "MP3", "MPEG_LAYER_III")
    with pytest.raises(UndecodableAudioError, match="cut off or damaged"):
        decode(content[: len(content) // 2])


def test_a_gigantic_claim_allocates_little() -> None:
    content = with_flac_claim(FLAC, 2**36 - 1)
    tracemalloc.start()
    with pytest.raises(UndecodableAudioError):
        decode(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_clip_at_the_limit_decodes_and_a_sample_more_is_overlong() -> None:
    assert len(decode(FLAC, max_duration_s=1.0).samples) == 16_000
    with pytest.raises(OverlongAudioError, match=r"at most 0\.9999 s"):
        decode(FLAC, max_duration_s=0.9999)


def test_the_limit_holds_for_a_file_that_claims_to_be_short() -> None:
    with pytest.raises(OverlongAudioError):
        decode(with_flac_claim(FLAC, 10), max_duration_s=0.5)


@pytest.mark.parametrize(
    ("container", "coding"), [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("WAV", "PCM_16")]
)
def test_a_clip_of_several_blocks_gives_what_reading_at_once_gives(
    container: str, coding: str
) -> None:
    num_samples = 2 * decode_module._BLOCK_SAMPLES + 1_000
    content = encoded(tone(num_samples / 48_000, 48_000), 48_000, container, coding)
    at_once, _ = sf.read(io.BytesIO(content), dtype="int16", always_2d=True)
    assert np.array_equal(decode(content).samples, at_once)


@settings(max_examples=60)
@given(st.sampled_from(["FLAC", "WAV"]), st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
def test_damaged_bytes_decode_or_raise_our_error(container: str, at: int, new: bytes) -> None:
    content = bytearray(encoded(tone(0.1), 16_000, container, "PCM_16"))
    at %= len(content)
    content[at : at + len(new)] = new
    try:
        clip = decode(bytes(content), max_duration_s=60)
    except (UndecodableAudioError, OverlongAudioError):
        return
    assert clip.samples.shape[0] >= 1


def test_the_version_of_libsndfile_is_told() -> None:
    assert libsndfile_version()[0].isdigit()


def real_clips(real_speech: Path, *suffixes: str) -> list[Path]:
    clips = [path for path in sorted(real_speech.rglob("*")) if path.suffix in suffixes]
    assert clips
    return clips


@pytest.mark.real_speech
def test_every_real_clip_decodes_to_what_plain_soundfile_gives(real_speech: Path) -> None:
    for path in real_clips(real_speech, ".flac", ".mp3", ".wav"):
        plain, rate = sf.read(path, dtype="int16", always_2d=True)
        clip = decode(path.read_bytes())
        assert clip.sampling_rate == rate, path
        assert np.array_equal(clip.samples, plain), path


def test_a_header_that_points_before_the_beginning_prints_no_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    content = encoded(tone(0.1), 16_000, "AIFF", "PCM_16")
    # no SSND chunk is found, so libsndfile goes back to look for it
    with pytest.raises(UndecodableAudioError):
        decode(content.replace(b"SSND", b"\x00\x00\x00\x00"))
    assert capfd.readouterr().err == ""
