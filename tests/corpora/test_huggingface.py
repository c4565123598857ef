import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Audio, Dataset, Features, Value

from sllm_data.records import Candidate, Reason, Rejection, Source, Speaker
from sllm_data.seeding import hash128
from tests.corpora.huggingface_folders import (
    FEATURES,
    LAYOUTS,
    candidates,
    listed,
    make_rows,
    refusal,
    rejection,
    write_parquet,
    write_saved,
)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by datasets

Speech = Callable[..., bytes]


@pytest.fixture(autouse=True)
def files_are_let_go() -> Iterator[None]:
    yield
    gc.collect()


def text_table(folder: Path, columns: dict[str, list[object]]) -> Path:
    """A dataset of one Parquet file whose audio nobody looks at."""
    (folder).mkdir()
    length = len(next(iter(columns.values())))
    pq.write_table(pa.table({"audio": [b"?"] * length} | columns), folder / "train.parquet")
    return folder


def test_a_row_becomes_a_candidate(tmp_path: Path, speech_bytes: Speech) -> None:
    folder = write_parquet(
        tmp_path / "d", {s: make_rows(speech_bytes, 2) for s in ("train", "test")}
    )
    first, second = candidates(folder, name="talks", version="2", licence="MIT")[:2]
    assert second == Candidate(
        audio_id="talks/2/train/000000001",
        entry=1,
        audio_path="train/1",
        transcript="Sentence number 1.",
        language="en",
        speaker=Speaker(id=hash128("salt", "speaker 1"), gender="male"),
        corpus_split="train",
        source=Source(corpus="talks", version="2", licence="MIT", attribution="talks"),
        extra={"topic": "weather"},
    )
    assert first.extra == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_streamed_or_not_the_list_is_the_same_but_for_addresses(
    tmp_path: Path, speech_bytes: Speech, layout: str
) -> None:
    splits = {"train": make_rows(speech_bytes, 7), "dev": make_rows(speech_bytes, 4, first=7)}
    folder = LAYOUTS[layout](tmp_path / "d", splits)

    def fields(row: Candidate) -> tuple[object, ...]:
        extra = {name: text for name, text in row.extra.items() if name != "__key__"}
        return row.audio_id, row.transcript, row.speaker, row.corpus_split, extra

    columns = {"speaker": ["speaker_id", "json.speaker_id"], "gender": ["gender", "json.gender"]}
    prepared = candidates(folder, columns=columns)
    streamed = candidates(folder, columns=columns, streaming=True)
    assert sorted(map(str, map(fields, prepared))) == sorted(map(str, map(fields, streamed)))
    assert {(row.corpus_split, row.transcript) for row in prepared} == {
        ({"dev": "validation"}.get(split, split), row["text"])
        for split, rows in splits.items()
        for row in rows
    }
    assert len({row.speaker.id for row in prepared}) == 3


def test_listing_a_stream_does_not_read_the_audio(tmp_path: Path, speech_bytes: Speech) -> None:
    rows = make_rows(speech_bytes, 6)
    folder = write_parquet(tmp_path / "d", {"train": rows}, files=1)
    path = folder / "data" / "train-00000-of-00001.parquet"
    content = path.read_bytes()
    metadata = pq.read_metadata(path)
    for k in range(metadata.num_row_groups):
        audio = metadata.row_group(k).column(0)
        start = audio.dictionary_page_offset or audio.data_page_offset
        stop = start + audio.total_compressed_size
        content = content[:start] + bytes(stop - start) + content[stop:]
    path.write_bytes(content)
    assert len(candidates(folder, streaming=True)) == 6
    assert "datasets can't read it" in refusal(folder)


@pytest.mark.parametrize("streaming", [False, True])
def test_chosen_splits_are_read_in_the_order_of_the_entry(
    tmp_path: Path, speech_bytes: Speech, *, streaming: bool
) -> None:
    rows = make_rows(speech_bytes, 2)
    folder = write_parquet(tmp_path / "d", {"train": rows, "test": rows, "extra": rows}, files=1)
    read = candidates(folder, splits=["test", "train"], streaming=streaming)
    assert [row.corpus_split for row in read] == ["test", "test", "train", "train"]
    found = refusal(folder, splits=["dev"], streaming=streaming)
    assert found.startswith(f"{folder}: has no split dev; it has: ")


def test_a_dataset_that_was_never_split_has_no_split_of_its_own(
    tmp_path: Path, speech_bytes: Speech
) -> None:
    rows = make_rows(speech_bytes, 2)
    folder = write_parquet(tmp_path / "d", {"train": rows}, files=1)
    assert {row.corpus_split for row in candidates(folder)} == {None}


def test_a_single_dataset_of_save_to_disk_is_read(tmp_path: Path, speech_bytes: Speech) -> None:
    rows = Dataset.from_list(make_rows(speech_bytes, 3), features=FEATURES)
    rows.save_to_disk(tmp_path / "d")
    assert [row.audio_path for row in candidates(tmp_path / "d", streaming=True)] == [
        "train/0",
        "train/1",
        "train/2",
    ]


def test_a_folder_of_save_to_disk_has_no_configurations(
    tmp_path: Path, speech_bytes: Speech
) -> None:
    write_saved(tmp_path / "d", {"train": make_rows(speech_bytes, 1)})
    assert "remove config_name" in refusal(tmp_path / "d", config_name="one")


def test_transcripts_that_become_numbers_half_way_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    lines = ["a.wav,a"] * 10_000 + ["a.wav,7"]  # the library looks at so many at once
    (tmp_path / "d" / "train.csv").write_text("\n".join(["audio,text", *lines, ""]))
    found = rejection(tmp_path / "d", streaming=True)
    assert found.reason is Reason.MALFORMED_ROW
    assert found.detail == "the transcript must be text, got 7"


def test_columns_are_taken_by_the_names_that_are_set(tmp_path: Path) -> None:
    folder = text_table(
        tmp_path / "d",
        {
            "text": ["not this"],
            "said": ["this one"],
            "who": [{"nick": "anna", "years": 31}],
            "tongue": ["pt_BR"],
            "part": ["dev-other"],
            "terms": ["CC0-1.0"],
            "key": ["a b/c"],
        },
    )
    columns = {
        "transcript": "said",
        "speaker": "who.nick",
        "age": "who.years",
        "language": ["lingua", "tongue"],
        "split": "part",
        "licence": "terms",
        "id": "key",
    }
    (row,) = candidates(folder, columns=columns, hash_speakers=False)
    assert row.audio_id == "huggingface/local/train/a%20b/c"
    assert (row.transcript, row.language, row.corpus_split) == ("this one", "pt-BR", "validation")
    assert row.speaker == Speaker(id="anna", age="31")
    assert row.source.licence == "CC0-1.0"
    assert row.extra == {"text": "not this"}


def test_a_column_named_like_a_field_of_another_comes_first(tmp_path: Path) -> None:
    folder = text_table(tmp_path / "d", {"a.b": ["flat"], "a": [{"b": "nested"}]})
    (row,) = candidates(folder, columns={"transcript": "a.b"})
    assert row.transcript == "flat"


def test_what_the_entry_says_counts_before_columns_that_are_not_set(tmp_path: Path) -> None:
    folder = text_table(tmp_path / "d", {"text": ["hallo"], "language": ["English"]})
    (row,) = candidates(folder, language="de")
    assert row.language == "de"
    (row,) = candidates(folder, language="de", columns={"language": "language"})
    assert row.language == "English"


def test_ids_of_people_are_kept_nowhere_else(tmp_path: Path) -> None:
    folder = text_table(
        tmp_path / "d", {"text": ["hello"], "client_id": ["f00d"], "speaker_id": ["7"]}
    )
    (row,) = candidates(folder)
    assert "f00d" not in str(row)


def test_labels_stand_for_their_names(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    kinds = Features({"audio": Audio(), "text": Value("string")}) | FEATURES.copy()
    rows = [
        {"audio": {"bytes": b"?", "path": None}, "text": "hi", "gender": label}
        for label in (1, 0, None)
    ]
    names = ("audio", "text", "gender")
    table = Dataset.from_list(rows, features=Features({name: kinds[name] for name in names}))
    table.to_parquet(tmp_path / "d" / "train.parquet")
    assert [row.speaker.gender for row in candidates(tmp_path / "d")] == ["male", "female", None]


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_without_transcript_or_id_or_text_are_rejected(
    tmp_path: Path, *, streaming: bool
) -> None:
    bad = pa.array([b"fine", b"\xff\xfe", None, b"fine"]).cast(pa.string(), safe=False)
    assert bad.type == pa.string()
    folder = text_table(tmp_path / "d", {"text": bad, "key": ["a", "b", "c", None]})
    rows = listed(folder, columns={"id": "key"}, streaming=streaming)
    reasons = [row.reason if isinstance(row, Rejection) else None for row in rows]
    assert reasons == [
        None,
        Reason.MALFORMED_ROW,
        Reason.TRANSCRIPT_MISSING,
        Reason.MALFORMED_ROW,
    ]
    assert [row.row_id for row in rows if isinstance(row, Rejection)] == [
        "huggingface/local/train:1",
        "huggingface/local/train/c",
        "huggingface/local/train:3",
    ]


def test_a_row_whose_language_is_no_tag_is_rejected(tmp_path: Path) -> None:
    folder = text_table(tmp_path / "d", {"text": ["hello"], "lang": ["Scottish Gaelic"]})
    found = rejection(folder, language=None)
    assert found.detail == "the language must be a tag such as zh-CN, got 'Scottish Gaelic'"


def test_without_any_language_nothing_is_read(tmp_path: Path) -> None:
    folder = text_table(tmp_path / "d", {"text": ["hello"]})
    assert "language must be set in this corpus entry" in refusal(folder, language=None)


@pytest.mark.parametrize(
    ("columns", "set_columns", "message"),
    [
        ({"words": ["hi"]}, {}, "must have a column of transcripts; it has: audio (binary), wo"),
        ({"text": [7]}, {"transcript": "text"}, "text is no text; it has: audio (binary), text"),
        ({"text": ["hi"]}, {"transcript": "said"}, "must have a column said, as columns.transcri"),
        ({"text": ["hi"]}, {"speaker": "who"}, "must have a column who, as columns.speaker says"),
        ({"text": ["hi"]}, {"audio": "wave"}, "must have a column wave, as columns.audio says"),
        ({"text": ["hi"], "n": [1]}, {"audio": "n"}, "column n must hold encoded audio, bytes or"),
        (
            {"text": ["hi"], "wave": [[0.1, 0.2]]},
            {"audio": "wave"},
            "column wave must hold encoded audio, bytes or a path; it holds decoded samples",
        ),
        (
            {"text": ["hi"], "wave": [{"array": [0.1], "path": "a.wav", "sampling_rate": 16000}]},
            {"audio": "wave"},
            "column wave must hold encoded audio, bytes or a path; it holds decoded samples",
        ),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_columns_that_do_not_do_are_named_with_those_there(
    tmp_path: Path,
    columns: dict[str, list[object]],
    set_columns: dict[str, str],
    message: str,
    *,
    streaming: bool,
) -> None:
    folder = text_table(tmp_path / "d", columns)
    found = refusal(folder, columns=set_columns, streaming=streaming)
    assert message in found
    assert str(folder) in found


def test_a_dataset_without_audio_says_so(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.csv").write_text("text\nhello\n")
    assert "must have a column of audio; it has: text (large_string)" in refusal(tmp_path / "d")


def test_two_columns_of_audio_must_be_told_apart(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    clip = {"bytes": b"?", "path": None}
    kinds = Features({"near": Audio(), "far": Audio(), "text": Value("string")})
    table = Dataset.from_list([{"near": clip, "far": clip, "text": "hi"}], features=kinds)
    table.to_parquet(tmp_path / "d" / "train.parquet")
    assert "must have one column of audio, it has: near, far" in refusal(tmp_path / "d")
    assert len(candidates(tmp_path / "d", columns={"audio": "far"})) == 1
