"""Whole runs over Hugging Face datasets: what is in them comes out, streamed or not."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from steps_datasets import build, digests, rows

from sllm_data.corpora.config import LibriSpeechConfig
from sllm_data.corpora.huggingface_rows import row_reader
from sllm_data.corpora.reading import read_corpus
from sllm_data.errors import ConfigError
from sllm_data.files import sha256_of_file
from sllm_data.records import Candidate
from tests.corpora.huggingface_folders import Row, write_audiofolder, write_parquet

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by datasets


@pytest.fixture(autouse=True)
def files_are_let_go() -> Iterator[None]:
    yield
    row_reader.cache_clear()
    gc.collect()


def spoken_rows(root: Path) -> list[Row]:
    """The utterances of a LibriSpeech folder as rows of a dataset."""
    listed = read_corpus(
        LibriSpeechConfig(kind="librispeech", path=root), entry=0, speaker_salt="salt"
    )
    return [
        {
            "audio": {"bytes": (root / row.audio_path).read_bytes(), "path": row.audio_path},
            "text": row.transcript,
            "speaker_id": row.speaker.id,
            "gender": int(row.speaker.gender == "male"),
            "topic": row.audio_id,
        }
        for row in listed
        if isinstance(row, Candidate)
    ]


@pytest.fixture(scope="module")
def parquet(tmp_path_factory, spoken) -> Path:
    found = spoken_rows(spoken / "LibriSpeech")
    splits = {"train": found[:14], "validation": found[14:18], "test": found[18:]}
    return write_parquet(tmp_path_factory.mktemp("hub") / "talks", splits)


@pytest.fixture(scope="module")
def entry(parquet) -> dict[str, object]:
    return {"kind": "huggingface", "path": str(parquet), "language": "en", "licence": "MIT"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, configured, entry) -> Path:
    root = tmp_path_factory.mktemp("finished") / "dataset"
    build(configured(root, corpora=[entry]))
    return root


def test_a_parquet_dataset_becomes_samples(finished, spoken):
    stored = rows(finished, "audio")
    expected = {row["topic"]: row for row in spoken_rows(spoken / "LibriSpeech")}

    assert len(stored) == len(expected) > 20
    for row in stored:
        origin = expected[json.loads(row["extra"])["topic"]]
        assert row["audio"]["bytes"] == origin["audio"]["bytes"]
        assert row["audio"]["path"] == Path(origin["audio"]["path"]).name
        assert row["transcript"] == origin["text"]
        assert row["source"]["licence"] == "MIT"
    assert {"train", "validation", "test"} == {row["split"] for row in rows(finished, "samples")}


@pytest.mark.parametrize("runner", [{"kind": "serial"}, {"kind": "processes", "workers": 2}])
def test_streaming_makes_the_same_dataset(finished, tmp_path, configured, entry, runner):
    config = configured(tmp_path / "d", corpora=[entry | {"streaming": True}], runner=runner)
    build(config)

    def made(root: Path) -> dict[str, str]:
        found = digests(root)
        return {n: d for n, d in found.items() if "candidates" not in n and "manifest" not in n}

    assert made(tmp_path / "d") == made(finished)
    places = {row["audio_path"] for row in rows(tmp_path / "d", "candidates")}
    assert {"train/0/0", "test/1/1"} <= places


def test_streaming_may_be_switched_in_a_dataset_that_was_begun(finished, configured, entry):
    reports = build(configured(finished, corpora=[entry | {"streaming": True}]))

    assert all(report.was_done for report in reports)


def test_a_folder_of_audio_becomes_samples(tmp_path, configured, spoken):
    found = [
        row | {"audio": row["audio"] | {"path": Path(row["audio"]["path"]).name}}
        for row in spoken_rows(spoken / "LibriSpeech")
    ]
    folder = write_audiofolder(tmp_path / "talks", {"train": found})
    corpus = {"kind": "huggingface", "path": str(folder), "language": "en"}
    build(configured(tmp_path / "d", corpora=[corpus], max_rejected_fraction=0.9))

    stored = rows(tmp_path / "d", "audio")
    assert [r["audio"]["bytes"] for r in stored] == [r["audio"]["bytes"] for r in found]
    assert {row["corpus_split"] for row in stored} == {None}
    assert len(rows(tmp_path / "d", "samples")) > 10


def test_a_dataset_of_our_own_is_read_back(tmp_path, configured):
    build(configured(tmp_path / "first"))
    own = {"kind": "huggingface", "path": str(tmp_path / "first"), "config_name": "audio"}
    again = configured(tmp_path / "second", corpora=[own], max_rejected_fraction=0.9)
    build(again)

    kept = ("sha256", "pcm_sha256", "codec", "transcript", "language", "corpus_split")
    first = {row["audio_id"]: row for row in rows(tmp_path / "first", "audio")}
    second = rows(tmp_path / "second", "audio")
    assert len(second) == len(first) > 20
    for row in second:
        origin = first[row["audio_id"].removeprefix("huggingface/local/audio-train/")]
        assert {name: row[name] for name in kept} == {name: origin[name] for name in kept}
        assert row["audio"] == origin["audio"]
        assert row["speaker"]["gender"] == origin["speaker"]["gender"]
        for name in ("licence", "attribution"):
            assert row["source"][name] == origin["source"][name]


def test_two_datasets_under_one_name_are_refused(tmp_path, configured, entry):
    other = entry | {"path": str(tmp_path)}
    with pytest.raises(ConfigError, match="entry 1 must have a name of its own: another dataset"):
        configured(tmp_path / "d", corpora=[entry, other])

    assert configured(tmp_path / "d", corpora=[entry, other | {"name": "other"}])


@pytest.mark.real_speech
@pytest.mark.parametrize("streaming", [False, True])
def test_real_speech_of_both_codings_comes_through(
    tmp_path, configured, real_speech, *, streaming
):
    clips = sorted(real_speech.glob("librispeech/**/*.flac"))[:12]
    clips += sorted(real_speech.glob("common_voice/**/de/clips/*.mp3"))[:12]
    found = [
        {
            "audio": {"bytes": clip.read_bytes(), "path": clip.name},
            "text": f"Clip number {k}.",
            "speaker_id": f"{k % 5}",
            "gender": k % 2,
            "topic": clip.name,
        }
        for k, clip in enumerate(clips)
    ]
    folder = write_parquet(tmp_path / "real", {"train": found}, group=5)
    corpus = {
        "kind": "huggingface",
        "path": str(folder),
        "language": "en",
        "streaming": streaming,
        "columns": {"id": "topic"},
    }
    build(configured(tmp_path / "d", corpora=[corpus], max_rejected_fraction=0.9))

    stored = rows(tmp_path / "d", "audio")
    assert {r["audio"]["path"]: r["sha256"] for r in stored} == {
        clip.name: sha256_of_file(clip) for clip in clips
    }
    assert {row["codec"].split("/")[0] for row in stored} == {"flac", "mp3"}
