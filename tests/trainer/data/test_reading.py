"""What is wrong with a dataset is an error when it is opened, with a row it is counted."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from made_datasets import flac, heard, ids, make, noise, text

from sllm_data.errors import ConfigError, ModelError, ShardError
from sllm_data.shards import Manifest, part_name, record_of, write_manifest
from sllm_data.shards.pages import ClipFile, StoredClips
from sllm_data.trainer.data.config import DatasetEntry
from sllm_data.trainer.data.reading import read_rows


def with_manifests(root):
    for table, step in (("samples", "assemble"), ("audio", "ingest")):
        parts = tuple(
            record_of(root, f"{table}/{path.name}") for path in sorted((root / table).iterdir())
        )
        manifest = Manifest(
            step=step,
            identity="test",
            inputs={},
            parts=parts,
            counts={"tasks": {"transcription": 36}},
            code_version="1",
        )
        write_manifest(root / "manifest" / f"{step}.json", manifest)
    return root


@pytest.fixture
def copied(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "copied")


def test_rows_come_in_their_order_with_the_columns_that_were_asked_for(plain):
    rows = list(read_rows(DatasetEntry(path=plain), extra=["language", "speech_share"]))
    assert [row.sample_id for row in rows[:10]] == [f"s0-0-{k}" for k in range(9)] + ["s0-1-0"]
    assert rows[0].extra == {"language": "", "speech_share": 0.0}


def test_only_rows_of_the_split_group_task_kind_and_corpus_are_taken(tmp_path):
    made = make(parts=1)
    changes = {
        1: {"split": "test"},
        2: {"eval_group": "held_out_task"},
        3: {"task": "summary"},
        4: {"kind": "interleaved"},
        5: {"source": {"corpus": "other", "version": "", "licence": "", "attribution": ""}},
    }
    for number, change in changes.items():
        made.samples[0][number] |= change
    root = made.write(tmp_path)

    def taken(**fields):
        return {int(row.sample_id[-1]) for row in read_rows(DatasetEntry(path=root, **fields))}

    assert taken() == {0, 3, 4, 5, 6, 7, 8}
    assert taken(split="test") == {1}
    assert taken(eval_group="held_out_task") == {2}
    assert taken(tasks=["summary"]) == {3}
    assert taken(kinds=["interleaved"]) == {4}
    assert taken(corpora=["other"]) == {5}
    assert taken(tasks=["transcription"], kinds=["instruct"], corpora=["made"]) == {0, 6, 7, 8}


def test_rows_that_can_not_be_trained_are_counted_by_reason_and_named(opened, tmp_path):
    made = make(parts=2)
    rows, clips = made.samples[0], made.audio[0]
    spans = [row["messages"][0]["content"] for row in rows]
    rows[0]["audio_refs"] = [{"audio_part": 0, "audio_id": "made/1/lost"}]
    rows[1]["audio_refs"] = [{"audio_part": 7, "audio_id": clips[1]["audio_id"]}]
    spans[2][1]["num_samples"] += 1
    spans[3][1]["audio_index"] = 4
    clips[4]["audio"]["bytes"] = clips[4]["audio"]["bytes"][:200]
    clips[5]["audio"]["bytes"] = flac(noise(1_000), 44_100)  # shorter than its row says
    spans[6][0]["text"] = "and on " * 200
    rows[7]["messages"][1]["content"][0]["supervised"] = False
    spans[8][1]["type"] = "units"
    stream = opened(made.write(tmp_path), epochs=1)
    assert sorted(ids(stream)) == [f"s0-1-{k}" for k in range(9)]
    skipped = {why: each.names for why, each in stream.counts.skipped.items()}
    undecodable = skipped.pop("undecodable")
    assert sorted(name.partition(":")[0] for name in undecodable) == ["s0-0-4", "s0-0-5"]
    assert "1000 decode" in "".join(undecodable)
    (too_long,) = skipped.pop("longer_than_budget")
    assert too_long.startswith("s0-0-6 of ")
    (malformed,) = skipped.pop("malformed")
    assert malformed == "s0-0-8: a span's type must be text or audio, got 'units'"
    assert {why: sorted(names) for why, names in skipped.items()} == {
        "audio_missing": ["s0-0-0", "s0-0-1"],
        "span_outside_clip": ["s0-0-2"],
        "span_without_clip": ["s0-0-3"],
        "nothing_supervised": ["s0-0-7"],
    }


def test_a_twin_with_other_turns_or_another_answer_is_counted_where_twins_are_used(
    opened, tmp_path
):
    made = make(parts=1)
    made.samples[0][0]["text_messages"].insert(0, {"role": "system", "content": "Be brief."})
    made.samples[0][1]["text_messages"][1]["content"] = "something else"
    root = made.write(tmp_path)
    assert len(ids(opened(root, epochs=1))) == 9
    stream = opened(root, epochs=1, twins=True)
    assert len(ids(stream)) == 7
    found = {why: each.names for why, each in stream.counts.skipped.items()}
    assert found == {"twin_has_other_turns": ["s0-0-0"], "twin_has_other_labels": ["s0-0-1"]}


def test_of_an_answer_that_was_cut_off_the_end_is_not_trained(opened, renderer, tmp_path):
    labels = {}
    for reason in ("stop", "length"):
        made = make(parts=1, rows=1)
        made.samples[0][0]["finish_reason"] = reason
        (batch,) = opened(made.write(tmp_path / reason), epochs=1, twins=True)
        labels[reason] = batch.text.labels.tolist()
        assert batch.twin.labels.tolist() == labels[reason]
    assert labels["stop"][-1] in renderer.stop_ids
    assert labels["length"] == labels["stop"][:-1]


def test_clips_several_spans_and_turns_become_positions_in_their_order(opened, tmp_path):
    made = make(parts=1, rows=3)
    row = made.samples[0][0]
    row["audio_refs"].append({"audio_part": 0, "audio_id": made.audio[0][2]["audio_id"]})
    num_samples = made.audio[0][0]["num_samples"]
    row["messages"] = [
        {"role": "user", "content": [heard(4_000), text(" or "), heard(9_000, clip=1)]},
        {"role": "assistant", "content": [text("fog", supervised=True)]},
        {"role": "user", "content": [heard(800, start=num_samples - 800)]},
        {"role": "assistant", "content": [text("rain", supervised=True)]},
    ]
    made.samples[0] = [row]
    batch = next(opened(made.write(tmp_path), epochs=1))
    assert batch.clip_frames.tolist() == [25, 20, 5]  # 4,000 and 800 at 16 kHz, 9,000 at 44.1
    assert batch.clip_positions.tolist() == [1, 1, 1]
    gaps = batch.audio_positions.tolist()
    assert gaps == sorted(gaps)
    assert len(gaps) == 3


def test_rows_without_audio_need_no_audio_folder(opened, tmp_path):
    made = make(parts=1)
    for row in made.all_samples():
        row["messages"][0]["content"] = [text("Say rain.")]
        row["audio_refs"] = []
    made.audio = []
    batches = list(opened(made.write(tmp_path), epochs=1))
    assert len(ids(batches)) == 9
    assert all(batch.features.shape == (0, 80) for batch in batches)


def test_a_folder_without_samples_is_an_error(opened, tmp_path):
    with pytest.raises(ShardError, match=r"must be a dataset with samples/part-\*"):
        opened(tmp_path / "nothing")


@pytest.mark.parametrize("table", ["samples", "audio"])
def test_a_part_that_the_manifest_lists_and_that_is_missing_or_cut_is_an_error(
    opened, copied, table
):
    part = with_manifests(copied) / table / part_name(2)
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    with pytest.raises(ShardError, match=rf"{table}.*must be the part of .* bytes"):
        opened(copied)
    part.unlink()
    with pytest.raises(ShardError, match="found nothing; copy the dataset again"):
        opened(copied)


def test_audio_without_its_samples_is_an_error_where_no_manifest_explains_it(opened, copied):
    (copied / "samples" / part_name(2)).unlink()
    with pytest.raises(ShardError, match=r"must have its samples/part-00002.parquet"):
        opened(copied)


@pytest.mark.parametrize("table", ["samples", "audio"])
def test_another_schema_version_is_an_error(opened, copied, table):
    path = copied / table / part_name(0)
    found = pq.read_table(path)
    entries = found.schema.metadata | {b"sllm_data.schema_version": b"99"}
    pq.write_table(found.replace_schema_metadata(entries), path)
    with pytest.raises(ShardError, match="has schema version 99"):
        list(opened(copied, epochs=1))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"tasks": ["transcripton"]}, "the task 'transcripton', has none; did you mean 'transcr"),
        ({"tasks": ["quiz"]}, "the task 'quiz', has none; it has transcription"),
        ({"kinds": ["instrct"]}, "the kind 'instrct', has none; did you mean 'instruct'"),
        ({"corpora": ["libri"]}, "the corpus 'libri', has none; "),
        ({"weights": {"tasks": {"quiz": 2}}}, "the task 'quiz', has none; "),
        ({"weights": {"kinds": {"interleavd": 2}}}, "the kind 'interleavd', has none; "),
        ({"weights": {"corpora": {"quiz": 2}}}, "the corpus 'quiz', has none; it has "),
    ],
)
def test_a_name_that_the_dataset_does_not_have_is_an_error_with_the_one_that_was_meant(
    opened, copied, named, said
):
    with pytest.raises(ConfigError, match=f"must have {said}"):
        opened(DatasetEntry(path=copied, **named))


@pytest.mark.parametrize("table", ["samples", "audio"])
def test_a_part_of_the_same_size_with_other_rows_is_other_data(opened, copied, table):
    before = opened(copied).fingerprint
    path = copied / table / part_name(1)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1  # in its footer
    path.write_bytes(bytes(content))

    assert not (copied / "manifest").exists()
    assert opened(copied).fingerprint != before


def test_answers_by_way_of_another_chat_template_must_be_allowed(opened, renderer, tmp_path):
    made = make(parts=1)
    for row in made.all_samples():
        row["generator"]["chat_template_sha256"] = "f" * 64
    root = made.write(tmp_path / "other")
    with pytest.raises(ModelError, match="must have been answered by way of the LLM's chat"):
        opened(root)
    assert next(opened(DatasetEntry(path=root, allow_other_template=True)))
    for row in made.all_samples():
        row["generator"]["chat_template_sha256"] = renderer.chat_template_sha256
    assert next(opened(made.write(tmp_path / "same")))


def test_nothing_to_train_on_says_what_was_left_out_first(opened, plain):
    with pytest.raises(ConfigError, match=r"has none of this split.*budget of 16.*s0-"):
        next(opened(plain, budget=16))
    with pytest.raises(ConfigError, match="must have rows to train on"):
        next(opened(DatasetEntry(path=plain, split="validation")))


def test_clips_are_read_alone_whatever_their_size(tmp_path):
    made = make(parts=1, rows=1)
    (row,) = made.audio[0]
    contents = [noise(size, seed=size).tobytes() for size in (1, 9, 40_000, 3, 31_000, 70_000, 5)]
    made.audio[0] = [
        row | {"audio_id": f"clip {k}", "audio": {"bytes": content, "path": "x"}}
        for k, content in enumerate(contents * 40)
    ]
    clips = StoredClips(made.write(tmp_path))
    found = [clips.bytes_of(0, f"clip {k}") for k in range(280)]
    clips.close()
    assert found == contents * 40


def test_a_clip_whose_bytes_changed_on_disk_is_an_error_and_its_row_is_skipped(opened, copied):
    path = copied / "audio" / part_name(0)
    audio = pq.read_table(path)["audio"].to_pylist()[3]["bytes"]
    content = bytearray(path.read_bytes())
    content[content.index(audio) + len(audio) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match="other bytes than were written for made/1/0/0-3"):
        ClipFile(path).read("made/1/0/0-3")
    stream = opened(copied, epochs=1)
    kept, skipped = ids(stream), stream.counts.skipped["undecodable"]
    assert any(name.startswith("s0-0-3: ") for name in skipped.names)
    assert len(kept) + skipped.num == 36
    assert skipped.num <= 3  # small clips share a page, and with it the checksum


def test_a_part_of_audio_that_is_no_part_is_an_error(copied):
    path = copied / "audio" / part_name(0)
    with pytest.raises(ShardError, match="the part must exist"):
        ClipFile(copied / "nothing.parquet")
    packed = copied / "packed.parquet"
    pq.write_table(pq.read_table(path), packed, compression="zstd")
    with pytest.raises(ShardError, match="audio that is compressed once more"):
        ClipFile(packed)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ShardError, match="must be a part of audio/ as sllm-data writes it"):
        ClipFile(path)
    with pytest.raises(ShardError, match="must hold lost, does not"):
        StoredClips(copied).bytes_of(1, "lost")


def test_a_manifest_that_is_none_is_an_error(opened, copied):
    path = with_manifests(copied) / "manifest" / "assemble.json"
    path.write_text(json.dumps({"step": "assemble"}))
    with pytest.raises(ShardError, match="must be a manifest"):
        opened(copied)
