"""Exports for trainers that have no library here, read as their layouts are written down."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_datasets import heard, text

from sllm_data.audio.decode import decode
from sllm_data.exporting import Selection, plan_export, read_back, write_export
from sllm_data.shards import TABLES, write_part
from tests.exporting.shapes import SHAPES, plain_row


def lines(folder, stem="train"):
    return [json.loads(line) for line in (folder / f"{stem}.jsonl").read_text().splitlines()]


def sound(path, offset_s=0.0, duration_s=None):
    """16-bit samples of a file, or of a stretch of it."""
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    start = round(offset_s * rate)
    return samples[start:] if duration_s is None else samples[start:][: round(duration_s * rate)]


def conversation(row, clips):
    """What a row says and hears, in order: (role, text or samples)."""
    said = []
    for turn in row["messages"]:
        for span in turn["content"]:
            if span["type"] == "text":
                said.append((turn["role"], span["text"]))
                continue
            clip = clips[row["audio_refs"][span["audio_index"]]["audio_id"]]
            samples = decode(clip["audio"]["bytes"]).samples[span["start_sample"] :]
            said.append((turn["role"], samples[: span["num_samples"]]))
    return said


def same(one, other):
    assert [role for role, _ in one] == [role for role, _ in other]
    for (_, a), (_, b) in zip(one, other, strict=True):
        assert type(a) is type(b)
        assert a == b if isinstance(a, str) else np.array_equal(a, b)


def chat(line, folder):
    """The conversation of a line with `<audio>` in it."""
    files = iter(line.get("audios", ()))
    for message in line["messages"]:
        for piece in re.split("(<audio>)", message["content"]):
            if piece == "<audio>":
                yield message["role"], sound(folder / next(files))
            elif piece:
                yield message["role"], piece


def nemo(line, folder):
    for turn in line["conversations"]:
        content = (
            turn["value"]
            if turn["type"] == "text"
            else sound(folder / turn["value"], turn["offset"], turn["duration"])
        )
        yield turn["from"].lower(), content


def desta(line, folder):
    for message in line["messages"]:
        files = iter(message.get("audios", ()))
        for piece in re.split(r"(<start_audio><\|AUDIO\|><end_audio>)", message["content"]):
            if piece.startswith("<start_audio>"):
                yield message["role"], sound(folder / next(files)["audio"])
            elif piece:
                yield message["role"], piece
    yield "assistant", line["response"]


@pytest.mark.parametrize(
    ("name", "read"),
    [("ms-swift", chat), ("llama-factory", chat), ("nemo", nemo), ("desta", desta)],
)
def test_what_is_said_and_heard_is_what_the_rows_say(
    name, read, spoken, spoken_rows, clips, export
):
    folder = export(spoken, name)
    rows = {row["sample_id"]: row for row in spoken_rows}
    found = lines(folder)
    whole = sum(row["kind"] == "instruct" for row in spoken_rows)
    assert len(found) == (whole if name == "desta" else len(rows))
    for line in found:
        same(
            list(read(line, folder)),
            conversation(rows[line.get("sample_id") or line["id"]], clips),
        )


def test_a_single_question_has_its_instruction_its_stretch_and_its_answer(
    spoken, spoken_rows, clips, export
):
    folder = export(spoken, "nemo-single")
    rows = {row["sample_id"]: row for row in spoken_rows}
    for line in lines(folder):
        row = rows[line["sample_id"]]
        (said,) = [each for _, each in conversation(row, clips) if not isinstance(each, str)]
        stretch = sound(folder / line["audio_filepath"], line["offset"], line["duration"])
        assert np.array_equal(stretch, said)
        texts = [span["text"] for span in row["messages"][0]["content"] if span["text"]]
        assert line["context"] == "".join(texts).strip()
        assert line["answer"] == row["response"]


def test_salmonn_has_a_document_and_a_prompt_for_each_order(spoken, spoken_rows, clips, export):
    folder = export(spoken, "salmonn")
    annotation = json.loads((folder / "train.json").read_text())["annotation"]
    prompts = json.loads((folder / "train_prompt.json").read_text())
    rows = {row["sample_id"]: row for row in spoken_rows}
    assert len(annotation) >= sum(row["kind"] == "instruct" for row in spoken_rows) > 4
    for line in annotation:
        said = conversation(rows[line["sample_id"]], clips)
        (prompt,) = prompts[line["task"]]
        asked = prompt.format(line["Q"]).replace("<Speech><SpeechHere></Speech>", "\0")
        told = "".join(each if isinstance(each, str) else "\0" for _, each in said[:-1])
        assert asked.split() == told.replace("\0", " \0 ").split()
        (heard_there,) = [each for _, each in said if not isinstance(each, str)]
        assert np.array_equal(sound(folder / line["path"]), heard_there)
        assert line["text"] == said[-1][1]


def test_salmonn_hears_clips_one_behind_the_other(dataset, export):
    folder = export(dataset(change=SHAPES["several clips together"]), "salmonn")
    (line,) = json.loads((folder / "train.json").read_text())["annotation"]
    assert (line["path"], line["expand_wav"]) == (
        "audio/made/1/x/a.flac",
        ["audio/made/1/x/b.flac"],
    )


def test_llama_factory_is_told_of_the_file_and_its_columns(spoken, export):
    folder = export(spoken, "llama-factory")
    info = json.loads((folder / "dataset_info.json").read_text())["sllm_train"]
    assert info["columns"] == {"messages": "messages", "audios": "audios"}
    tags = info["tags"]
    for line in lines(folder):
        for message in line[info["columns"]["messages"]]:
            known = (tags["user_tag"], tags["assistant_tag"], tags["system_tag"])
            assert message[tags["role_tag"]] in known
            assert isinstance(message[tags["content_tag"]], str)


def test_desta_has_the_transcript_of_each_clip(spoken, clips, export):
    for line in lines(export(spoken, "desta")):
        for audio in line["messages"][-1]["audios"]:
            clip = clips[audio["audio"].removeprefix("audio/").removesuffix(".flac")]
            assert audio["text"] == clip["transcript"]


def test_a_clip_is_written_once_as_it_came_and_a_stretch_once(dataset, export):
    rows = [plain_row(f"s{number}") for number in range(4)]
    for row in rows[2:]:
        SHAPES["one stretch"](row)
    root = dataset(*rows)
    for name, files in (("ms-swift", 2), ("nemo", 1)):
        folder = export(root, name)
        assert len(list(folder.rglob("*.flac"))) == files
    stretch = export(root, "llama-factory") / "cuts/made/1/x/a/4000-12000.flac"
    whole = sound(stretch.parents[5] / "audio/made/1/x/a.flac")
    assert np.array_equal(sound(stretch), whole[4000:12000])


@pytest.mark.parametrize("name", ["ms-swift", "nemo", "ultravox"])
def test_a_change_of_level_is_heard(name, dataset, export):
    def louder(row):
        row["messages"][0]["content"][1]["gain_db"] = -6.0

    root = dataset(change=louder)
    folder = export(root, name)
    if name == "ultravox":
        return  # its check has read it
    (path,) = folder.rglob("*.flac")
    clip = sound(export(dataset(), "salmonn") / "audio/made/1/x/a.flac")
    assert path.name == "0-16000_-6dB.flac"
    assert np.abs(sound(path) - clip * 10 ** (-6 / 20)).max() <= 0.5


@pytest.mark.parametrize(
    "audio_id", ["../../etc/x", "a//b", ".hidden/x", "ä/ß", "x" * 300, "a/../b", "_/x", "con\n"]
)
def test_an_id_that_is_no_plain_name_stays_in_the_folder(audio_id, dataset, export):
    root = dataset()
    for table in ("audio", "samples"):
        (row,) = pq.read_table(root / table / "part-00000.parquet").to_pylist()[:1]
        if table == "audio":
            row["audio_id"] = audio_id
        else:
            row["audio_refs"][0]["audio_id"] = audio_id
        name = f"{table}/part-00000.parquet"
        write_part(root, name, [row], table=TABLES[table], identity="test")
    (line,) = lines(export(root, "ms-swift"))
    assert re.fullmatch(r"audio/_/[0-9a-f]{32}\.flac", line["audios"][0])


TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="<"), min_size=1)
STRETCHES = st.tuples(st.integers(0, 15_998), st.integers(1, 16_000)).map(
    lambda pair: heard(min(pair[1], 16_000 - pair[0]), start=pair[0])
)
QUESTIONS = st.lists(st.one_of(TEXTS.map(text), STRETCHES), min_size=1, max_size=5)
ANSWERS = TEXTS.filter(str.strip).map(lambda said: [text(said, supervised=True)])
EXCHANGES = st.lists(st.tuples(QUESTIONS, ANSWERS), min_size=1, max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(exchanges=EXCHANGES)
def test_any_conversation_comes_back_as_it_was(exchanges, dataset, tmp_path_factory):
    row = plain_row()
    row["messages"] = [
        {"role": role, "content": content}
        for pair in exchanges
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]
    folder = tmp_path_factory.mktemp("any")
    plan = plan_export(dataset(row), "ms-swift", Selection())
    write_export(plan, folder / "out")
    found = read_back(folder / "out")
    assert (found.rows, found.stretches) == (1, plan.stretches)
    (line,) = lines(folder / "out")
    spoken = list(chat(line, folder / "out"))
    merged = _merged(
        (turn["role"], span["text"] if span["type"] == "text" else span["num_samples"])
        for turn in row["messages"]
        for span in turn["content"]
    )
    assert merged == [
        (role, each if isinstance(each, str) else len(each)) for role, each in spoken
    ]


def _merged(spans):
    merged = []
    for role, content in spans:
        is_text = isinstance(content, str)
        if is_text and merged and merged[-1][0] == role and isinstance(merged[-1][1], str):
            merged[-1] = (role, merged[-1][1] + content)
        else:
            merged.append((role, content))
    return merged
