import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from pydantic import TypeAdapter

from sllm_data.corpora.config import Bounds, CommonVoiceConfig, CorpusConfig
from sllm_data.corpora.opening import Opened, open_candidate
from sllm_data.corpora.reading import read_corpus
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate, Reason, Rejection, Source, Speaker, Utterance

Speech = Callable[..., bytes]


def candidate(audio_path: str = "clip.flac", transcript: str = "HELLO") -> Candidate:
    return Candidate(
        audio_id="corpus/1/x/clip",
        entry=2,
        audio_path=audio_path,
        transcript=transcript,
        language="en",
        speaker=Speaker(id="7"),
        corpus_split="test",
        source=Source(corpus="corpus", version="1", licence="CC0-1.0", attribution="me"),
        extra={"chapter_id": "1"},
    )


def folder(path: Path) -> CorpusConfig:
    return CommonVoiceConfig(kind="common_voice", path=path)


def reason_for(outcome: Opened | Rejection) -> Reason:
    assert isinstance(outcome, Rejection)
    assert outcome.row_id == outcome.audio_id == "corpus/1/x/clip"
    assert outcome.step == "ingest"
    assert len(outcome.detail.splitlines()) == 1
    return outcome.reason


def test_an_utterance_carries_the_candidate_its_hashes_and_its_true_length(
    tmp_path: Path, speech_bytes: Speech
) -> None:
    content = speech_bytes(0.5)
    (tmp_path / "clip.flac").write_bytes(content)
    listed = candidate()
    opened = open_candidate(listed, config=folder(tmp_path), bounds=Bounds())
    assert isinstance(opened, Opened)
    samples, _ = sf.read(tmp_path / "clip.flac", dtype="int16")
    assert (opened.content, opened.name) == (content, "clip.flac")
    assert opened.utterance == Utterance(
        audio_id=listed.audio_id,
        entry=2,
        sha256=hashlib.sha256(content).hexdigest(),
        pcm_sha256=hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest(),
        codec="flac/pcm_16",
        sampling_rate=16_000,
        num_channels=1,
        num_samples=8_000,
        transcript="HELLO",
        language="en",
        speaker=listed.speaker,
        corpus_split="test",
        source=listed.source,
        extra=listed.extra,
    )


def test_channels_are_interleaved_in_the_hash_of_the_samples(tmp_path: Path) -> None:
    samples = np.arange(-8_000, 8_000, dtype=np.int16).reshape(-1, 2)
    sf.write(tmp_path / "clip.flac", samples, 16_000)
    opened = open_candidate(candidate(), config=folder(tmp_path), bounds=Bounds())
    assert isinstance(opened, Opened)
    assert opened.utterance.num_channels == 2
    assert opened.utterance.pcm_sha256 == hashlib.sha256(samples.tobytes()).hexdigest()


@pytest.mark.parametrize("transcript", ["", " \t", "...", "¿?", "-"])
def test_a_transcript_without_a_letter_or_digit_is_empty(tmp_path: Path, transcript: str) -> None:
    outcome = open_candidate(
        candidate(transcript=transcript), config=folder(tmp_path), bounds=Bounds()
    )
    assert reason_for(outcome) is Reason.EMPTY_TRANSCRIPT


@pytest.mark.parametrize("transcript", ["7", "ไม่", "நான்", "你好", "א"])
def test_a_transcript_in_any_script_is_a_transcript(
    tmp_path: Path, transcript: str, speech_bytes: Speech
) -> None:
    (tmp_path / "clip.flac").write_bytes(speech_bytes())
    outcome = open_candidate(
        candidate(transcript=transcript), config=folder(tmp_path), bounds=Bounds()
    )
    assert not isinstance(outcome, Rejection)


@pytest.mark.parametrize(
    ("audio_path", "reason"),
    [
        ("gone.flac", Reason.AUDIO_MISSING),
        ("folder", Reason.AUDIO_MISSING),
        ("x" * 300, Reason.AUDIO_MISSING),
        ("loop.flac", Reason.AUDIO_MISSING),
        ("../outside.flac", Reason.PATH_OUTSIDE_CORPUS),
        ("/etc/passwd", Reason.PATH_OUTSIDE_CORPUS),
        ("link.flac", Reason.PATH_OUTSIDE_CORPUS),
        ("page.mp3", Reason.UNREADABLE_AUDIO),
    ],
)
def test_audio_that_cannot_be_read_is_rejected(
    tmp_path: Path, audio_path: str, reason: Reason
) -> None:
    root = tmp_path / "corpus"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "outside.flac").touch()
    (root / "link.flac").symlink_to(tmp_path / "outside.flac")
    (root / "loop.flac").symlink_to("loop.flac")
    (root / "page.mp3").write_text("<html>404</html>")
    outcome = open_candidate(candidate(audio_path), config=folder(root), bounds=Bounds())
    assert reason_for(outcome) is reason


@pytest.mark.parametrize(
    ("duration_s", "peak", "reason"),
    [
        (0.29, 0.5, Reason.TOO_SHORT),
        (2.01, 0.5, Reason.TOO_LONG),
        (1.0, 0.0, Reason.SILENT),
        (1.0, 0.0009, Reason.SILENT),
    ],
)
def test_clips_out_of_bounds_are_rejected(
    tmp_path: Path, speech_bytes: Speech, duration_s: float, peak: float, reason: Reason
) -> None:
    (tmp_path / "clip.flac").write_bytes(speech_bytes(duration_s, peak=peak))
    bounds = Bounds(min_duration_s=0.3, max_duration_s=2.0)
    assert (
        reason_for(open_candidate(candidate(), config=folder(tmp_path), bounds=bounds)) is reason
    )


@pytest.mark.parametrize(("duration_s", "peak"), [(0.3, 0.5), (2.0, 0.5), (1.0, 0.002)])
def test_clips_at_the_bounds_are_utterances(
    tmp_path: Path, speech_bytes: Speech, duration_s: float, peak: float
) -> None:
    (tmp_path / "clip.flac").write_bytes(speech_bytes(duration_s, peak=peak))
    bounds = Bounds(min_duration_s=0.3, max_duration_s=2.0)
    outcome = open_candidate(candidate(), config=folder(tmp_path), bounds=bounds)
    assert not isinstance(outcome, Rejection)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, speech_bytes: Speech) -> None:
    content = speech_bytes()
    (tmp_path / "clip.flac").write_bytes(content)
    bounds = Bounds(max_file_bytes=len(content) - 1)
    outcome = open_candidate(candidate(), config=folder(tmp_path), bounds=bounds)
    assert reason_for(outcome) is Reason.TOO_LONG


def test_storage_that_fails_is_an_error_and_no_rejection() -> None:
    unreadable = Path("/proc/self")  # reading mem from its beginning is an input/output error
    with pytest.raises(CorpusError, match="check the storage"):
        open_candidate(candidate("mem"), config=folder(unreadable), bounds=Bounds())


@pytest.mark.real_speech
@pytest.mark.parametrize(
    ("entry", "num_clips"),
    [
        ({"kind": "librispeech", "path": "librispeech"}, 76),
        ({"kind": "common_voice", "path": "common_voice/cv-corpus-6.1-2020-12-11"}, 276),
    ],
)
def test_every_real_clip_is_an_utterance(
    real_speech: Path, entry: dict[str, str], num_clips: int
) -> None:
    path = real_speech / entry["path"]
    config: CorpusConfig = TypeAdapter(CorpusConfig).validate_python({**entry, "path": path})
    opened = [
        open_candidate(row, config=config, bounds=Bounds())
        for row in read_corpus(config, entry=0, speaker_salt="salt")
        if isinstance(row, Candidate)
    ]
    assert len(opened) == num_clips
    assert not [row for row in opened if isinstance(row, Rejection)]
