"""The world as a corpus: disjoint texts and voices, the hours asked for, times that match."""

import csv
import json
import re
import tempfile
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.errors import ConfigError
from sllm_data.testbed.dialogues import Recording, finish_dialogues
from sllm_data.testbed.events import half_of
from sllm_data.testbed.librispeech import Chapter
from sllm_data.testbed.spoken_world import WorldCorpus, WorldLayout, finish_world, world_blocks
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES


def write(folder: Path, *, hours: float = 0.03, layout: WorldLayout, overlap: float = 0.0) -> None:
    corpus = WorldCorpus(hours=hours, layout=layout, seed=1, num_voices=3, overlap=overlap)
    finish_world(folder, corpus, (block.write(folder) for block in world_blocks(corpus)))


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "LibriSpeech"
    write(folder, layout="librispeech")
    return folder


@pytest.fixture(scope="module")
def common_voice(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "cv-corpus-1-world"
    write(folder, layout="common-voice")
    return folder


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "dialogues"
    write(folder, layout="dialogues", overlap=0.5)
    return folder


@cache
def chapters(hours: float) -> list[Chapter]:
    corpus = WorldCorpus(hours=hours, layout="librispeech", seed=3)
    return [block for block in world_blocks(corpus) if isinstance(block, Chapter)]


def test_no_text_is_said_twice_and_each_half_keeps_to_itself():
    said = [(chapter.subset, text) for chapter in chapters(20) for text in chapter.texts]
    assert len(said) > 10_000
    assert len({text for _, text in said}) == len(said)
    assert all(
        half_of(text) == ("train" if subset == "train-world" else "test") for subset, text in said
    )


def test_texts_have_as_many_sentences_as_asked_for():
    corpus = WorldCorpus(hours=2, layout="librispeech", seed=3, num_events=1)
    single = [text for block in world_blocks(corpus) for text in block.texts]
    assert len(single) == len(set(single)) > 2_000
    assert not any(" then " in text for text in single)
    assert any(" then " in text for chapter in chapters(1) for text in chapter.texts)


def test_held_out_voices_speak_in_a_subset_of_their_own():
    heard: dict[str, set[str]] = {}
    for chapter in chapters(20):
        heard.setdefault(chapter.subset, set()).add(chapter.voice.name)
    assert heard.pop("test-unseen-voices") == {voice.name for voice in HELD_OUT_VOICES}
    everybody = {voice.name for voice in WORLD_VOICES}
    assert heard == dict.fromkeys(("train-world", "dev-world", "test-world"), everybody)


def test_no_reader_is_in_two_subsets_and_no_chapter_comes_twice():
    all_of_them = chapters(20)
    subsets = {(chapter.voice.number, chapter.subset) for chapter in all_of_them}
    names = {(chapter.voice.number, chapter.number) for chapter in all_of_them}
    assert len({number for number, _ in subsets}) == len(subsets) == 3 * 12 + 4
    assert len(names) == len(all_of_them)


@pytest.mark.parametrize("layout", ["librispeech", "dialogues"])
def test_the_hours_are_those_asked_for(tmp_path, layout):
    overlap = 0.2 if layout == "dialogues" else 0.0
    corpus = WorldCorpus(hours=0.1, layout=layout, seed=2, overlap=overlap)
    receipts = (block.write(tmp_path) for block in world_blocks(corpus))
    amounts = finish_world(tmp_path, corpus, receipts)
    hours = {name: amount.duration_s / 3600 for name, amount in amounts.items()}
    assert sum(hours.values()) == pytest.approx(0.1, rel=0.12)
    assert hours["train-world"] == pytest.approx(0.85 * 0.1, rel=0.12)


def test_alignments_are_condensed_as_librispeech_has_them(librispeech):
    tables = list(librispeech.rglob("*.alignment.txt"))
    assert len(tables) >= 6
    for table in tables:
        transcripts = Path(str(table).replace(".alignment.", ".trans.")).read_text().splitlines()
        for line, transcript in zip(table.read_text().splitlines(), transcripts, strict=True):
            name, words, times = re.fullmatch(r'(\S+) "(,.*,)" "(.*)"', line).groups()
            ends = [float(time) for time in times.split(",")]
            assert len(ends) == len(words.split(","))
            assert ends == sorted(ends)
            assert transcript == f"{name} {' '.join(filter(None, words.split(',')))}"
            duration_s = soundfile.info(table.parent / f"{name}.flac").duration
            assert ends[-1] == pytest.approx(duration_s, abs=1e-5)


def test_words_of_alignments_sound_and_silences_do_not(librispeech):
    for table in islice(librispeech.rglob("*.alignment.txt"), 4):
        for line in table.read_text().splitlines():
            name, words, times = line.replace('"', "").split(" ")
            samples, _ = soundfile.read(table.parent / f"{name}.flac", dtype="int16")
            ends = [round(float(time) * 16_000) for time in times.split(",")]
            for word, start, end in zip(words.split(","), [0, *ends], ends, strict=False):
                loudest = np.abs(samples[start:end].astype(int)).max(initial=0)
                assert loudest > 1_500 if word else loudest < 1_500


def test_ctm_of_common_voice_times_every_word_of_its_clips(common_voice):
    times: dict[str, list[list[str]]] = {}
    for line in (common_voice / "en/words.ctm").read_text().splitlines():
        name, _, *rest = line.split(" ")
        times.setdefault(name, []).append(rest)
    rows = {}
    for table in ("validated", "other"):
        with (common_voice / f"en/{table}.tsv").open(newline="") as lines:
            reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows |= {row["path"].removesuffix(".mp3"): row["sentence"] for row in reader}
    assert {name: " ".join(word for *_, word in said) for name, said in times.items()} == rows
    name, said = next(iter(times.items()))
    samples, rate_hz = soundfile.read(common_voice / f"en/clips/{name}.mp3", dtype="int16")
    silent = samples.astype(int)
    for start, duration, _ in said:
        silent[round(float(start) * rate_hz) :][: round(float(duration) * rate_hz)] = 0
    assert np.sqrt(np.mean(silent**2.0)) < 0.1 * np.sqrt(np.mean(samples.astype(int) ** 2.0))


def test_turns_alternate_and_lie_where_rttm_and_ctm_say(dialogues):
    for manifest in dialogues.glob("*.jsonl"):
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        spoken = [line.split() for line in manifest.with_suffix(".rttm").read_text().splitlines()]
        words = [line.split() for line in manifest.with_suffix(".ctm").read_text().splitlines()]
        assert len(rows) == len(spoken)
        for row, (_, name, _, start, duration, _, _, speaker, *_) in zip(
            rows, spoken, strict=True
        ):
            begin, end = float(start), float(start) + float(duration)
            own = [
                w
                for w in words
                if w[0] == name and w[7] == speaker and begin - 1e-6 <= float(w[2]) < end
            ]
            assert (row["dialogue"], row["speaker"]) == (name, speaker)
            assert " ".join(word[4] for word in own) == row["text"]
            assert row["offset"] == pytest.approx(begin - 0.05, abs=1e-4)
            assert row["duration"] == pytest.approx(float(duration) + 0.1, abs=1e-4)


def starts_and_ends(folder: Path) -> list[list[tuple[float, float, str]]]:
    found: dict[str, list[tuple[float, float, str]]] = {}
    for table in folder.glob("*.rttm"):
        for line in table.read_text().splitlines():
            _, name, _, start, duration, _, _, speaker, *_ = line.split()
            turn = (float(start), float(start) + float(duration), speaker)
            found.setdefault(name, []).append(turn)
    return list(found.values())


@settings(max_examples=6)
@given(st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 100))
def test_the_asked_share_of_turns_overlaps_and_nobody_overlaps_himself(overlap, seed):
    corpus = WorldCorpus(hours=1, layout="dialogues", seed=seed, overlap=overlap)
    with tempfile.TemporaryDirectory() as folder:
        receipts = [block.write(Path(folder)) for block in islice(world_blocks(corpus), 12)]
        finish_dialogues(Path(folder), receipts)
        turns = starts_and_ends(Path(folder))
    pairs = [pair for dialogue in turns for pair in pairwise(dialogue)]
    share = np.mean([later[0] < earlier[1] for earlier, later in pairs])
    assert abs(share - overlap) < 0.35
    assert overlap == share or 0 < overlap < 1
    for dialogue in turns:
        assert all(a[2] != b[2] and a[0] < b[0] for a, b in pairwise(dialogue))
        assert all(a[1] < c[0] for a, c in zip(dialogue, dialogue[2:], strict=False))


def test_overlapping_turns_are_the_sum_of_both_and_never_clip(dialogues):
    for path in dialogues.rglob("*.flac"):
        samples, rate_hz = soundfile.read(path, dtype="int16")
        assert rate_hz == 16_000
        assert np.abs(samples.astype(int)).max() < 32_767
        turns = next(t for t in starts_and_ends(dialogues) if len(t))
        assert turns[0][0] == 0.3


def test_a_dialogue_is_silent_where_nobody_speaks(tmp_path):
    corpus = WorldCorpus(hours=0.1, layout="dialogues", seed=5)
    block = next(block for block in world_blocks(corpus) if isinstance(block, Recording))
    finish_dialogues(tmp_path, [block.write(tmp_path)])
    (turns,) = starts_and_ends(tmp_path)
    samples, _ = soundfile.read(next(tmp_path.rglob("*.flac")), dtype="int16")
    for start, end, _ in turns:
        samples[round(start * 16_000) : round(end * 16_000)] = 0
    assert not samples.any()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"hours": 0}, "hours must be a number above 0, got 0"),
        ({"hours": float("nan")}, "hours must be a number above 0, got nan"),
        ({"hours": float("inf")}, "hours must be a number above 0, got inf"),
        ({"hours": 10_000}, "hours must be at most 2,463, got 10,000: the world has no more"),
        ({"num_voices": 13}, "num_voices must be 1 to 12, got 13"),
        ({"num_voices": 1, "layout": "dialogues"}, "num_voices must be 2 to 12, got 1"),
        ({"overlap": 0.2}, "overlap must be 0 in the layout librispeech, got 0.2"),
        ({"overlap": 2, "layout": "dialogues"}, "overlap must be 0 to 1, got 2"),
        ({"num_events": 5}, "sentences must be 1 to 4, got 5"),
        ({"num_events": 1, "layout": "dialogues"}, "sentences must be left out in the layout"),
        ({"num_events": 1, "hours": 2_000}, "hours must be at most 1,"),
    ],
)
def test_what_can_not_be_spoken_is_said_in_one_sentence(fields, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        WorldCorpus(**{"hours": 1, "layout": "librispeech", "seed": 1} | fields)
