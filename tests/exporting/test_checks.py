"""The check after an export finds what is wrong with it, and says where."""

import json
import shutil
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from made_datasets import flac, noise

from sllm_data.errors import ShardError
from sllm_data.exporting import read_back
from tests.exporting.shapes import SHAPES, plain_row


def edit(path, change):
    """Changes the first line of JSON of a file, or the only document."""
    head, *rest = path.read_text().splitlines(keepends=True)
    row = json.loads(head)
    changed = change(row)
    path.write_text(json.dumps(row if changed is None else changed) + "\n" + "".join(rest))


def line(change):
    return lambda folder: edit(folder / "train.jsonl", change)


def cut_line(change):
    return lambda folder: edit(folder / "shar/cuts.000000.jsonl", change)


def annotation(change):
    def damage(folder):
        path = folder / "train.json"
        document = json.loads(path.read_text())
        change(document["annotation"][0])
        rows = ",\n".join(map(json.dumps, document["annotation"]))
        path.write_text(f'{{"annotation": [\n{rows}\n]}}\n')

    return damage


def text_of(name, old, new):
    def damage(folder):
        path = folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return damage


def gone(pattern):
    def damage(folder):
        for path in list(folder.rglob(pattern)):
            path.unlink()

    return damage


def cut_short(pattern, by=700):
    def damage(folder):
        (path,) = folder.rglob(pattern)
        path.write_bytes(path.read_bytes()[:-by])

    return damage


def no_sound(folder):
    for path in folder.rglob("*.flac"):
        path.write_bytes(b"fLaC")


def bytes_of(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def shorter_sound(folder):
    for path in folder.rglob("*.flac"):
        path.write_bytes(flac(noise(800), 16_000))


def table(change):
    def damage(folder):
        (path,) = (folder / "data").iterdir()
        rows = pq.read_table(path)
        kept = rows.schema
        changed = rows.to_pylist()
        change(changed[0])
        pq.write_table(pa.Table.from_pylist(changed, schema=kept), path)

    return damage


def without_column(name):
    def damage(folder):
        (path,) = (folder / "data").iterdir()
        pq.write_table(pq.read_table(path).drop_columns([name]), path)

    return damage


def repacked(change):
    """Writes the only tar again, with other members."""

    def damage(folder):
        (path,) = folder.rglob("*.tar")
        with tarfile.open(path) as tar:
            found = [(entry.name, tar.extractfile(entry).read()) for entry in tar]
        loose = folder.parent / "loose"
        loose.mkdir()
        with tarfile.open(path, "w") as tar:
            for name, content in change(found):
                (loose / "member").write_bytes(content)
                tar.add(loose / "member", name)
        shutil.rmtree(loose)

    return damage


def ultravox_config(**fields):
    def damage(folder):
        path = folder / "ultravox.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))

    return damage


def turn(number, **fields):
    return line(lambda row: row["conversations"][number].update(fields))


def heard_of(**fields):
    return table(lambda row: row["messages"][0]["content"][1].update(fields))


def said(**fields):
    return line(lambda row: row["messages"][0].update(fields))


FAULTS = [
    ("ms-swift", line(lambda row: row.pop("messages") and row), "must have the key 'messages'"),
    ("ms-swift", line(lambda row: row.update(sample_id=7)), "sample_id must be str, got int"),
    ("ms-swift", line(lambda row: [row]), "must be a JSON object, found list"),
    ("ms-swift", said(content="<audio><audio>"), "as many <audio> as audio files, has 2 for 1"),
    ("ms-swift", said(content="What?"), "as many <audio> as audio files, has 0 for 1"),
    ("ms-swift", said(role="assistant"), "roles must be user and assistant by turns"),
    ("ms-swift", said(loss=True), "loss must be false where given"),
    (
        "ms-swift",
        line(lambda row: row["messages"].append("x")),
        "message 2: must be an object, got str",
    ),
    ("ms-swift", line(lambda row: row.update(audios="a")), "audios must be a list"),
    ("ms-swift", line(lambda row: row.update(audios=["../a"])), "must name a file of the folder"),
    ("ms-swift", gone("a.flac"), "must name a file of the folder, got audio/made/1/x/a.flac"),
    ("ms-swift", no_sound, "a.flac: must be a sound file"),
    ("ms-swift", gone("train.jsonl"), "train.jsonl: must be a file, there is none"),
    ("ms-swift", cut_short("train.jsonl", by=9), "train.jsonl:2: must be JSON"),
    ("ms-swift", bytes_of("train.jsonl", b'{"a": "\xff"}'), "train.jsonl:1: must be JSON"),
    ("ms-swift", line(lambda row: row.update(audios=[7])), "must name a file of the folder, got"),
    ("llama-factory", gone("dataset_info.json"), "dataset_info.json: must be a file"),
    ("llama-factory", text_of("dataset_info.json", "sllm_train", "x"), "describe the dataset"),
    ("llama-factory", text_of("dataset_info.json", "train.jsonl", "x"), "file_name must be tr"),
    ("llama-factory", text_of("dataset_info.json", "sharegpt", "alpaca"), "must be sharegpt"),
    ("llama-factory", text_of("dataset_info.json", '"user"', '"human"'), "tags must be"),
    ("llama-factory", line(lambda row: row.pop("audios") and row), "key 'audios' that dataset_i"),
    ("llama-factory", said(loss=False), "LLaMA-Factory knows none"),
    ("nemo", turn(1, duration=9.0), "must end within the 1.000 s of a.flac, ends at 9.000 s"),
    ("nemo", turn(1, offset=-1.0), "offset must be 0 or more"),
    ("nemo", turn(1, duration=0.0), "duration must be above 0"),
    ("nemo", turn(1, duration="1"), "duration must be float, got str"),
    ("nemo", turn(0, type="image"), "type must be text or audio"),
    ("nemo", turn(1, **{"from": "Assistant"}), "audio must be from User"),
    ("nemo", turn(0, **{"from": "user"}), "from must be User, Assistant or System"),
    ("nemo", turn(2, **{"from": "User"}), "must end with a turn from Assistant"),
    ("nemo", turn(2, **{"from": "System"}), "must end with a turn from Assistant"),
    ("nemo", line(lambda row: row["conversations"].append("x")), "turn 3: must be an object"),
    ("nemo", shorter_sound, "must end within the 0.050 s of a.flac"),
    ("nemo-single", line(lambda row: row.update(context="")), "context must not be empty"),
    ("nemo-single", line(lambda row: row.update(offset=0.5)), "must end within the 1.000 s"),
    ("nemo-single", line(lambda row: row.update(audio_filepath="a/b")), "must name a file"),
    ("salmonn", annotation(lambda row: row.pop("Q")), "must have the key 'Q'"),
    ("salmonn", annotation(lambda row: row.update(task="x")), "task must be one of instruction"),
    ("salmonn", annotation(lambda row: row.update(Q="<SpeechHere>")), "must hold no mark"),
    ("salmonn", annotation(lambda row: row.update(path="a")), "must name a file of the folder"),
    ("salmonn", annotation(lambda row: row.update(expand_wav=["a"])), "must name a file of the"),
    ("salmonn", annotation(lambda row: row.update(expand_wav=None)), "expand_wav must be a list"),
    ("salmonn", text_of("train.json", '{"annotation"', '{"rows"'), "must begin with"),
    ("salmonn", cut_short("train.json", by=4), r"must end with \]}, is cut off"),
    ("salmonn", gone("train_prompt.json"), "train_prompt.json: must be a file"),
    ("salmonn", text_of("train_prompt.json", "<SpeechHere>", ""), "must have one <SpeechHere>"),
    ("desta", said(role="assistant"), "roles must be user, or system and user"),
    ("desta", said(content="What?"), r"as many <\|AUDIO\|> as audio files, has 0 for 1"),
    ("desta", line(lambda row: row["messages"][0]["audios"][0].update(text="")), "a space stands"),
    ("desta", line(lambda row: row.update(messages=["x"])), "must be an object, got str"),
    ("desta", said(audios="x"), "audios must be a list"),
    ("desta", line(lambda row: row.pop("response") and row), "must have the key 'response'"),
    ("ultravox", table(lambda row: row.update(prompt="What?")), r"as many <\|audio\|> as audio"),
    ("ultravox", table(lambda row: row.update(audio=None)), "audio must have bytes"),
    ("ultravox", table(lambda row: row["audio"].update(bytes=b"fLaC")), "must be a sound file"),
    ("ultravox", bytes_of("ultravox.yaml", b"- name"), "must be a mapping of names to values"),
    ("ultravox", bytes_of("ultravox.yaml", b"name: [\xff"), "must be UTF-8, found the byte"),
    ("ultravox", ultravox_config(splits=3), "splits must be list, got int"),
    ("ultravox", without_column("transcript"), r"must have the columns \['transcript'\]"),
    ("ultravox", ultravox_config(user_template="{{text}}"), "user_template: must be '{{prompt}}'"),
    ("ultravox", ultravox_config(splits=[{"num_samples": 3}]), "num_samples must be 2, is 3"),
    ("ultravox", gone("ultravox.yaml"), "ultravox.yaml: must be a file"),
    ("ultravox", gone("*.parquet"), r"must have train-\*.parquet"),
    ("huggingface", table(lambda row: row.update(audio=None)), "the 1 clips that it names, has 0"),
    ("huggingface", table(lambda row: row["audio"].update(bytes=b"")), "a clip must have bytes"),
    ("huggingface", table(lambda row: row["audio"].update(bytes=b"fLaC")), "must be a sound file"),
    ("huggingface", heard_of(num_samples=16_001), "must end within the 16000 samples of its clip"),
    ("huggingface", heard_of(start_sample=-1), "must hear samples of its clip, got -1 to 15999"),
    ("huggingface", gone("*.parquet"), r"must have train-\*.parquet"),
    ("huggingface", cut_short("*.parquet"), "must be a whole Parquet file"),
    ("webdataset", gone("*.tar"), r"must have train-\*.tar"),
    ("webdataset", cut_short("*.tar", by=8_000), "must be a whole tar file"),
    ("webdataset", repacked(lambda found: found[:1]), "must have a file for each clip"),
    ("webdataset", repacked(lambda found: found[::-1]), "must begin with its JSON"),
    (
        "webdataset",
        repacked(lambda found: [("x.json", found[0][1]), ("x.flac", found[1][1])]),
        "must be named by its sample_id",
    ),
    (
        "webdataset",
        repacked(lambda found: [found[0], (found[1][0], b"fLaC")]),
        "s0.flac: must be a sound file: libsndfile says",
    ),
    (
        "webdataset",
        repacked(lambda found: [found[0], (found[1][0], flac(noise(80), 16_000))]),
        "must end within the 80 samples of its clip",
    ),
    ("lhotse-shar", cut_line(lambda row: row.update(start=0.5)), "must lie in its 1.000 s"),
    ("lhotse-shar", cut_line(lambda row: row.update(supervisions=[])), "must have a supervision"),
    (
        "lhotse-shar",
        cut_line(lambda row: row["supervisions"][0].update(duration=2.0)),
        "a supervision must lie in its cut",
    ),
    ("lhotse-shar", cut_line(lambda row: row.update(id="x")), "must have its recording beside"),
    ("lhotse-shar", repacked(lambda found: found[:2]), "must have a recording in the tar"),
    ("lhotse-shar", repacked(lambda found: found + found[:2]), "two members for each cut"),
    (
        "lhotse-shar",
        repacked(lambda found: [(found[0][0], flac(noise(80), 16_000)), *found[1:]]),
        "must have 16000 frames, has 80",
    ),
    (
        "lhotse-shar",
        repacked(lambda found: [(found[0][0], flac(noise(80), 8_000)), *found[1:]]),
        "must be at the rate it says",
    ),
    (
        "lhotse-shar",
        repacked(lambda found: [(found[0][0], b"fLaC"), *found[1:]]),
        "s0.flac: must be a sound file: libsndfile says",
    ),
    ("lhotse-shar", lambda folder: (folder / "shar/x").touch(), "in pairs alone: {'x'}"),
    ("lhotse-shar", gone("cuts.*"), r"must have cuts.\*.jsonl"),
]


@pytest.mark.parametrize(("name", "damage", "says"), FAULTS)
def test_a_fault_is_found(name, damage, says, dataset, export):
    folder = export(dataset(plain_row("s0"), plain_row("s1")), name)
    assert read_back(folder).rows == 2
    damage(folder)
    with pytest.raises(ShardError, match=says):
        read_back(folder)


def test_a_clip_that_no_span_may_name_is_found(dataset, export):
    folder = export(dataset(change=SHAPES["several clips"]), "huggingface")
    table(lambda row: row["messages"][0]["content"][1].update(audio_index=2))(folder)
    with pytest.raises(ShardError, match="audio_index must name one of its clips"):
        read_back(folder)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (gone("export.json"), "must be an export with export.json"),
        (text_of("export.json", '"nemo"', '"x"'), "must name a format and a split, got 'x'"),
        (text_of("export.json", '"train"', "1"), "must name a format and a split"),
        (text_of("export.json", '"train"', '"/x"'), "must name a format and a split"),
        (text_of("export.json", '"train"', f'"{"x" * 400}"'), "must be a file, there is none"),
        (text_of("export.json", "{", "["), "export.json: must be JSON"),
    ],
)
def test_a_folder_that_is_no_export_is_an_error(damage, says, dataset, export):
    folder = export(dataset(), "nemo")
    damage(folder)
    with pytest.raises(ShardError, match=says):
        read_back(folder)
