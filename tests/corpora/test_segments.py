"""Segments of long files as clips: what is stored, in which order, and what is refused."""

import errno
import io
import json
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sllm_data.audio.decode import decode
from sllm_data.corpora.config import Bounds, CorpusConfig, ManifestConfig
from sllm_data.corpora.opening import Opened, open_candidate, open_candidates
from sllm_data.corpora.reading import read_corpus
from sllm_data.corpora.sources import long_file
from sllm_data.errors import CorpusError, OutputError
from sllm_data.records import Candidate, Reason, Rejection
from sllm_data.units import Hertz, Seconds, to_samples

RATE = 16_000
BOUNDS = Bounds(min_duration_s=0.1, max_duration_s=5.0)
CONTAINERS = ["FLAC", "WAV", "MP3", "OGG"]


def sound(duration_s: float = 10.0) -> np.ndarray:
    time_s = np.arange(round(duration_s * RATE)) / RATE
    wave = np.sin(2 * np.pi * (200 + 20 * time_s) * time_s) * (0.2 + 0.05 * time_s)
    return (wave * 20_000).astype(np.int16)


def encoded(samples: np.ndarray, container: str) -> bytes:
    target = io.BytesIO()
    with sf.SoundFile(target, "w", RATE, 1, format=container) as file:
        for start in range(0, len(samples), RATE):
            file.write(samples[start : start + RATE])
    return target.getvalue()


FILES = {container: encoded(sound(), container) for container in CONTAINERS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One long file in each container, plain and in archives."""
    root = tmp_path / "corpus"
    root.mkdir()
    for container, content in FILES.items():
        (root / f"{container}.audio").write_bytes(content)
    with tarfile.open(root / "all.tar", "w") as archive:
        for path in sorted(root.glob("*.audio")):
            archive.add(path, arcname=path.name)
    for name, kind in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(root / f"{name}.zip", "w", kind) as packed:
            for path in sorted(root.glob("*.audio")):
                packed.write(path, arcname=path.name)
    return root


def listed(folder: Path, *rows: dict[str, Any]) -> tuple[CorpusConfig, list[Candidate]]:
    manifest = folder / "m.jsonl"
    lines = [{"audio_filepath": "FLAC.audio", "text": "Hello."} | row for row in rows]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = ManifestConfig(kind="manifest", path=manifest, language="en")
    found = list(read_corpus(config, entry=0, speaker_salt="salt"))
    candidates = [each for each in found if isinstance(each, Candidate)]
    assert len(candidates) == len(found)
    return config, candidates


def opened(
    folder: Path, *rows: dict[str, Any], bounds: Bounds = BOUNDS
) -> Iterator[Opened | Rejection]:
    config, candidates = listed(folder, *rows)
    return open_candidates(candidates, corpora=[config], bounds=bounds, scratch=folder)


def one(folder: Path, bounds: Bounds = BOUNDS, **row: Any) -> Opened:
    (found,) = opened(folder, row, bounds=bounds)
    assert isinstance(found, Opened), found
    return found


def reason(folder: Path, bounds: Bounds = BOUNDS, **row: Any) -> Reason:
    (found,) = opened(folder, row, bounds=bounds)
    assert isinstance(found, Rejection)
    assert len(found.detail.splitlines()) == 1
    return found.reason


def sliced(container: str, start_s: float, duration_s: float) -> np.ndarray:
    rate = Hertz(RATE)
    stop = to_samples(Seconds(start_s + duration_s), rate)
    return decode(FILES[container]).samples[to_samples(Seconds(start_s), rate) : stop]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("place", ["", "all.tar:", "stored.zip:", "deflated.zip:"])
def test_a_segment_is_stored_as_flac_of_just_these_samples(
    folder: Path, container: str, place: str
) -> None:
    path = f"{place}{container}.audio"
    found = one(folder, audio_filepath=path, offset=2.5, duration=1.3)
    assert np.array_equal(decode(found.content).samples, sliced(container, 2.5, 1.3))
    utterance = found.utterance
    assert (utterance.codec, utterance.sampling_rate) == ("flac/pcm_16", RATE)
    assert found.name == f"{utterance.audio_id.rpartition('/')[2]}.flac"
    assert utterance.extra["segment_of"] == path
    assert utterance.extra["segment_start_s"] == "2.5"
    assert utterance.extra["segment_codec"].startswith(container.lower())


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_segment_without_duration_goes_to_the_end(folder: Path, container: str) -> None:
    found = one(folder, audio_filepath=f"{container}.audio", offset=7.25)
    assert np.array_equal(decode(found.content).samples, sliced(container, 7.25, 100))


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("times", [{}, {"offset": 0}, {"duration": 10}])
def test_a_row_that_is_all_of_its_file_keeps_the_bytes(
    folder: Path, container: str, times: dict[str, float]
) -> None:
    bounds = Bounds(max_duration_s=60)
    found = one(folder, bounds, audio_filepath=f"all.tar:{container}.audio", **times)
    assert (found.content, found.name) == (FILES[container], f"{container}.audio")
    assert not [key for key in found.utterance.extra if key.startswith("segment")]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("duration", [10.0, 10.05])
def test_a_segment_that_is_all_of_its_file_keeps_the_bytes(
    folder: Path, container: str, duration: float
) -> None:
    length_s = len(decode(FILES[container]).samples) / RATE - 10 + duration
    bounds = Bounds(max_duration_s=60)
    found = one(folder, bounds, audio_filepath=f"{container}.audio", offset=0, duration=length_s)
    assert (found.content, found.name) == (FILES[container], f"{container}.audio")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"offset": 10.5, "duration": 1}, Reason.BEYOND_END),
        ({"offset": 12}, Reason.BEYOND_END),
        ({"offset": 9.5, "duration": 1}, Reason.BEYOND_END),
        ({"offset": 1, "duration": 0.05}, Reason.TOO_SHORT),
        ({"offset": 1, "duration": 5.5}, Reason.TOO_LONG),
        ({"offset": 1}, Reason.TOO_LONG),
        ({"offset": 1, "duration": 1, "text": "..."}, Reason.EMPTY_TRANSCRIPT),
        ({"offset": 1, "duration": 1, "audio_filepath": "empty"}, Reason.UNREADABLE_AUDIO),
        ({"offset": 1, "duration": 1, "audio_filepath": "m.jsonl"}, Reason.UNREADABLE_AUDIO),
        ({"offset": 0, "duration": 1, "audio_filepath": "silence"}, Reason.SILENT),
        ({"duration": 3.0}, Reason.WRONG_DURATION),
        ({"duration": 11.0}, Reason.WRONG_DURATION),
    ],
)
def test_a_segment_that_cannot_be_used_is_a_reason(
    folder: Path, row: dict[str, Any], expected: Reason
) -> None:
    (folder / "empty").touch()
    (folder / "silence").write_bytes(encoded(np.zeros(2 * RATE, np.int16), "WAV"))
    bounds = Bounds(max_duration_s=60) if "offset" not in row else BOUNDS
    assert reason(folder, bounds, **row) is expected


def test_a_duration_within_half_a_second_of_the_file_is_taken_for_a_rounding(folder: Path) -> None:
    assert one(folder, Bounds(max_duration_s=60), duration=10.4).utterance.num_samples == 160_000


def test_a_long_file_may_be_larger_than_a_clip_may(folder: Path) -> None:
    bounds = Bounds(min_duration_s=0.1, max_duration_s=5.0, max_file_bytes=20_000)
    found = one(folder, bounds, audio_filepath="WAV.audio", offset=1, duration=0.5)
    assert np.array_equal(decode(found.content).samples, sliced("WAV", 1, 0.5))
    assert reason(folder, bounds, audio_filepath="WAV.audio") is Reason.TOO_LONG


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "audio_filepath": st.sampled_from(
                ["FLAC.audio", "MP3.audio", "all.tar:MP3.audio", "deflated.zip:OGG.audio", "x"]
            ),
            "text": st.sampled_from(["Hello.", "..."]),
        },
        optional={"offset": st.floats(0, 11), "duration": st.floats(0.01, 6)},
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_a_part_comes_out_in_its_order_as_each_candidate_does_alone(
    folder: Path, rows: list[dict[str, Any]]
) -> None:
    (folder / "x").write_bytes(b"no audio")
    numbered = [row | {"id": f"{number:02}"} for number, row in enumerate(rows)]
    config, candidates = listed(folder, *numbered)
    together = open_candidates(candidates[::-1], corpora=[config], bounds=BOUNDS, scratch=folder)
    alone = [open_candidate(each, config=config, bounds=BOUNDS) for each in candidates[::-1]]
    assert list(together) == alone


def noisy(folder: Path) -> tuple[CorpusConfig, list[Candidate]]:
    """Segments that are stored in 11 MB, the last one first."""
    noise = np.random.default_rng(1).integers(-9_000, 9_000, 40 * RATE, np.int16)
    (folder / "noise").write_bytes(encoded(noise, "WAV"))
    times = [{"offset": k * 0.4, "duration": 4.9, "id": 99 - k} for k in range(80)]
    return listed(folder, *({"audio_filepath": "noise"} | each for each in times))


def test_the_cuts_of_a_large_part_wait_on_disk_and_leave_nothing_there(folder: Path) -> None:
    config, candidates = noisy(folder)
    before = set(folder.iterdir())
    in_order = sorted(candidates, key=lambda candidate: candidate.audio_id)
    tracemalloc.start()
    num_bytes = 0
    for found in open_candidates(in_order, corpora=[config], bounds=BOUNDS, scratch=folder):
        assert isinstance(found, Opened)
        assert set(folder.iterdir()) == before
        num_bytes += len(found.content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_bytes > 10_000_000
    assert peak < 7_000_000


def bytes_read() -> int:
    """What this process has read from files so far."""
    first, _, _ = Path("/proc/self/io").read_text().partition("\n")
    return int(first.removeprefix("rchar: "))


def test_a_file_without_places_is_gone_through_once_whatever_the_order(folder: Path) -> None:
    rows = [{"offset": k * 0.1, "duration": 0.5, "id": f"{k * 37 % 90:02}"} for k in range(90)]
    config, candidates = listed(folder, *(row | {"audio_filepath": "MP3.audio"} for row in rows))
    in_order = sorted(candidates, key=lambda candidate: candidate.audio_id)
    before = bytes_read()
    found = list(open_candidates(in_order, corpora=[config], bounds=BOUNDS, scratch=folder))
    assert all(isinstance(each, Opened) for each in found)
    assert bytes_read() - before < 5 * len(FILES["MP3"])


def test_no_room_for_the_cuts_is_an_error_that_says_so(folder: Path) -> None:
    config, candidates = noisy(folder)
    no_folder = folder / "m.jsonl"
    with pytest.raises(OutputError, match="make room"):
        list(open_candidates(candidates, corpora=[config], bounds=BOUNDS, scratch=no_folder))


def test_a_file_that_vanished_since_it_was_listed_is_missing(folder: Path) -> None:
    config, candidates = listed(folder, {"offset": 1, "duration": 1})
    (folder / "FLAC.audio").unlink()
    found = open_candidate(candidates[0], config=config, bounds=BOUNDS)
    assert isinstance(found, Rejection)
    assert found.reason is Reason.AUDIO_MISSING


def test_storage_that_fails_under_a_segment_is_an_error_and_no_rejection(folder: Path) -> None:
    with (
        pytest.raises(CorpusError, match=r"FLAC\.audio: can't be read: .* check the storage"),
        long_file(folder, "FLAC.audio", max_bytes=1) as file,
    ):
        # what SegmentReader raises when a disk is lost: tests/audio/test_segments.py
        raise OSError(errno.EIO, "Input/output error", file)
