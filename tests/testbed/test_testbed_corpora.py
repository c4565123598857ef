import csv
import hashlib
from pathlib import Path

import pytest
import soundfile

from sllm_data.corpora.config import Bounds, CommonVoiceConfig, LibriSpeechConfig
from sllm_data.corpora.opening import open_candidate
from sllm_data.corpora.reading import read_corpus
from sllm_data.records import Candidate, Rejection
from sllm_data.testbed import write_common_voice, write_librispeech


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("spoken") / "LibriSpeech"
    write_librispeech(folder, subsets={"train-clean-5": 9, "dev-clean": 3}, num_speakers=3, seed=1)
    return folder


@pytest.fixture(scope="module")
def common_voice(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("spoken") / "cv-corpus-0.1-testbed"
    write_common_voice(folder, locales={"en": 4, "de": 3}, num_speakers=2, flaws=True, seed=1)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_same_arguments_give_the_same_librispeech_bytes(librispeech, tmp_path):
    write_librispeech(
        tmp_path, subsets={"train-clean-5": 9, "dev-clean": 3}, num_speakers=3, seed=1
    )
    assert digests(tmp_path) == digests(librispeech)


def test_the_same_arguments_give_the_same_common_voice_bytes(common_voice, tmp_path):
    write_common_voice(tmp_path, locales={"en": 4, "de": 3}, num_speakers=2, flaws=True, seed=1)
    assert digests(tmp_path) == digests(common_voice)


def test_librispeech_reads_back_as_a_corpus(librispeech):
    config = LibriSpeechConfig(kind="librispeech", path=librispeech)
    read = list(read_corpus(config, entry=0, speaker_salt="salt"))
    assert all(isinstance(each, Candidate) for each in read)
    assert len(read) == 12
    assert {each.speaker.gender for each in read} == {"female", "male"}
    assert all(each.transcript == each.transcript.upper() for each in read)
    assert {each.corpus_split for each in read} == {"train", "validation"}


def test_no_librispeech_speaker_is_in_two_subsets(librispeech):
    train = {path.name for path in (librispeech / "train-clean-5").iterdir()}
    dev = {path.name for path in (librispeech / "dev-clean").iterdir()}
    assert len(train) == len(dev) == 3
    assert not train & dev


def test_librispeech_transcripts_hold_letters_apostrophes_and_spaces_only(librispeech):
    for table in librispeech.rglob("*.trans.txt"):
        for line in table.read_text(encoding="utf-8").splitlines():
            name, _, heard = line.partition(" ")
            assert (table.parent / f"{name}.flac").is_file()
            assert heard.replace("'", "").replace(" ", "").isalpha()


def test_librispeech_audio_is_mono_flac_at_16_khz(librispeech):
    for path in librispeech.rglob("*.flac"):
        about = soundfile.info(path)
        assert (about.samplerate, about.channels, about.subtype) == (16_000, 1, "PCM_16")


def test_more_utterances_than_a_chapter_holds_open_another(tmp_path):
    duration_s = write_librispeech(tmp_path, subsets={"train-clean-5": 21}, num_speakers=1, seed=1)
    chapters = sorted(path.name for path in (tmp_path / "train-clean-5" / "9001").iterdir())
    audio = list(tmp_path.rglob("*.flac"))
    assert chapters == ["900100", "900101"]
    assert len(audio) == 21
    assert duration_s == pytest.approx(sum(soundfile.info(path).duration for path in audio))


def test_common_voice_has_the_13_columns_and_keeps_case_and_punctuation(common_voice):
    rows = rows_of(common_voice / "de" / "validated.tsv")
    assert len(rows[0]) == 13
    assert len(rows) == 3 + 4
    assert all(row["sentence"][-1] in ".!?" for row in rows if row["sentence"])
    assert {row["locale"] for row in rows} == {"de"}
    assert all(len(row["client_id"]) == 128 for row in rows)


def test_common_voice_clips_are_mp3_as_long_as_the_table_says(common_voice):
    for row in rows_of(common_voice / "en" / "clip_durations.tsv"):
        about = soundfile.info(common_voice / "en" / "clips" / row["clip"])
        assert (about.format, about.samplerate, about.channels) == ("MP3", 22_050, 1)
        assert about.duration == pytest.approx(int(row["duration[ms]"]) / 1000, abs=0.1)


def test_each_flaw_is_met_by_the_pipeline_and_the_rest_is_sound(common_voice):
    config = CommonVoiceConfig(kind="common_voice", path=common_voice, locales=("en",))
    read = list(read_corpus(config, entry=0, speaker_salt="salt"))
    opened = [
        each
        if isinstance(each, Rejection)
        else open_candidate(each, config=config, bounds=Bounds())
        for each in read
    ]
    reasons = [each.reason.value for each in opened if isinstance(each, Rejection)]
    sound = [each for each in opened if not isinstance(each, Rejection)]
    assert len(opened) == 4 + 4
    assert len(reasons) == len(set(reasons)) == 3  # missing, silent, empty; the copy is sound
    assert len(sound) == 5


def test_another_seed_says_other_sentences(librispeech, tmp_path):
    write_librispeech(tmp_path, subsets={"dev-clean": 3}, num_speakers=3, seed=2)
    mine = {path.read_text() for path in tmp_path.rglob("*.trans.txt")}
    theirs = {path.read_text() for path in librispeech.rglob("*.trans.txt")}
    assert not mine & theirs


def test_a_locale_without_grammar_is_refused(tmp_path):
    with pytest.raises(ValueError, match="language must be one of"):
        write_common_voice(tmp_path, locales={"xx": 1}, seed=1)
