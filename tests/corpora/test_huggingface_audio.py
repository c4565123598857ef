import gc
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from datasets import config as library
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.corpora.config import Bounds, HuggingFaceConfig
from sllm_data.corpora.huggingface_rows import row_reader
from sllm_data.corpora.opening import Opened, open_candidates
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate, Reason, Rejection
from tests.corpora.huggingface_folders import (
    FEATURES,
    LAYOUTS,
    Row,
    candidates,
    config,
    make_rows,
    write_audiofolder,
    write_parquet,
)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by datasets

Speech = Callable[..., bytes]

NUM_ROWS = 11


@pytest.fixture(autouse=True)
def files_are_let_go() -> Iterator[None]:
    yield
    row_reader.cache_clear()
    gc.collect()


@pytest.fixture(scope="module")
def rows(speech_bytes: Speech) -> list[Row]:
    return make_rows(speech_bytes, NUM_ROWS)


def opened(
    listed: Sequence[Candidate], corpus: HuggingFaceConfig, scratch: Path
) -> list[Opened | Rejection]:
    in_entry_1 = [corpus, corpus]
    return list(open_candidates(listed, corpora=in_entry_1, bounds=Bounds(), scratch=scratch))


def contents(found: Sequence[Opened | Rejection]) -> list[tuple[bytes, str]]:
    assert not [row for row in found if isinstance(row, Rejection)]
    return [(row.content, row.name) for row in found if isinstance(row, Opened)]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bytes_are_those_that_the_dataset_holds(
    tmp_path: Path, rows: list[Row], layout: str, *, streaming: bool
) -> None:
    folder = LAYOUTS[layout](tmp_path / "d", {"train": rows})
    columns = {"transcript": ["text", "json.text"]}
    listed = candidates(folder, streaming=streaming, columns=columns)
    found = opened(listed, config(folder, columns=columns), tmp_path)
    assert contents(found) == [(row["audio"]["bytes"], row["audio"]["path"]) for row in rows]
    assert [row.transcript for row in listed] == [row["text"] for row in rows]


@pytest.fixture(scope="module")
def streamed(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> dict[str, tuple[Path, list[Candidate]]]:
    """The rows as two Parquet files with groups of three, and as two tars; each listed."""
    folder = tmp_path_factory.mktemp("streamed")
    layouts = {name: LAYOUTS[name](folder / name, {"train": rows}) for name in _STREAMED}
    columns = {"transcript": ["text", "json.text"]}
    return {
        name: (path, candidates(path, streaming=True, columns=columns))
        for name, path in layouts.items()
    }


_STREAMED = ("parquet", "webdataset")


@pytest.mark.parametrize("layout", _STREAMED)
@given(order=st.lists(st.integers(0, NUM_ROWS - 1), unique=True))
def test_streamed_rows_come_in_whatever_order_they_are_asked_for(
    streamed: dict[str, tuple[Path, list[Candidate]]],
    rows: list[Row],
    layout: str,
    order: list[int],
) -> None:
    path, listed = streamed[layout]
    columns = {"transcript": ["text", "json.text"]}
    found = opened([listed[k] for k in order], config(path, columns=columns), path.parent)
    assert contents(found) == [
        (rows[k]["audio"]["bytes"], rows[k]["audio"]["path"]) for k in order
    ]


def bytes_read() -> int:
    counters = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in counters if line.startswith("rchar"))


needs_counters = pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads"
)


@pytest.fixture(scope="module")
def large(
    tmp_path_factory: pytest.TempPathFactory, speech_bytes: Speech
) -> tuple[Path, list[Candidate], int]:
    """Two files of six groups of twenty rows; its candidates, and the bytes of each clip."""
    clip = speech_bytes(2.0)
    many = [{"audio": {"bytes": clip, "path": None}, "text": f"{k}"} for k in range(240)]
    features = type(FEATURES)({name: FEATURES[name] for name in ("audio", "text")})
    folder = tmp_path_factory.mktemp("large") / "d"
    write_parquet(folder, {"train": many}, group=20, features=features)
    listed = candidates(folder, streaming=True)
    opened(listed[:1], config(folder), folder.parent)  # imports are read, too
    return folder, listed, len(clip)


@needs_counters
@pytest.mark.parametrize("step", [1, 7])
def test_a_part_reads_each_row_group_once(
    large: tuple[Path, list[Candidate], int], step: int
) -> None:
    folder, listed, clip_bytes = large
    shuffled = [listed[k * step % len(listed)] for k in range(200)]
    before = bytes_read()
    contents(opened(shuffled, config(folder), folder.parent))
    waited = 0 if step == 1 else 200  # clips that were put aside and read again
    assert bytes_read() - before < 1.2 * clip_bytes * (240 + waited)


@needs_counters
def test_row_groups_without_a_row_of_the_part_are_not_read(
    large: tuple[Path, list[Candidate], int],
) -> None:
    folder, listed, clip_bytes = large
    before = bytes_read()
    contents(opened([listed[0], listed[119]], config(folder), folder.parent))
    assert bytes_read() - before < 1.5 * clip_bytes * 2 * 20


def test_an_address_says_how_it_is_read(tmp_path: Path, rows: list[Row]) -> None:
    folder = write_parquet(tmp_path / "d", {"train": rows})
    prepared, streamed = candidates(folder), candidates(folder, streaming=True)
    assert [row.audio_path for row in prepared[5:7]] == ["train/5", "train/6"]
    assert [row.audio_path for row in streamed[5:7]] == ["train/0/5", "train/1/0"]
    mixed = [prepared[0], streamed[1], prepared[2], streamed[8]]
    for streaming in (False, True):
        found = opened(mixed, config(folder, streaming=streaming), tmp_path)
        expected = [rows[k]["audio"]["bytes"] for k in (0, 1, 2, 8)]
        assert [content for content, _ in contents(found)] == expected


def test_what_was_listed_as_a_stream_is_not_prepared_to_be_opened(
    tmp_path: Path, rows: list[Row]
) -> None:
    folder = write_parquet(tmp_path / "never prepared", {"train": rows})
    listed = candidates(folder, streaming=True)
    contents(opened(listed, config(folder, streaming=False), tmp_path))
    assert not list(Path(library.HF_DATASETS_CACHE).glob("*never*prepared*/**/*.arrow"))
    candidates(folder)
    assert list(Path(library.HF_DATASETS_CACHE).glob("*never*prepared*/**/*.arrow"))


def reasons(folder: Path, scratch: Path, **fields: object) -> list[Reason | None]:
    found = opened(candidates(folder, **fields), config(folder, **fields), scratch)
    for row in found:
        assert isinstance(row, Opened) or len(row.detail.splitlines()) == 1
    return [row.reason if isinstance(row, Rejection) else None for row in found]


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_without_usable_audio_are_rejected(
    tmp_path: Path, rows: list[Row], *, streaming: bool
) -> None:
    good = rows[0]["audio"]["bytes"]
    (tmp_path / "outside.flac").write_bytes(good)
    audio = [
        {"bytes": good, "path": None},
        None,
        {"bytes": None, "path": None},
        {"bytes": b"", "path": "a.flac"},
        {"bytes": b"<html>404</html>", "path": "a.flac"},
        {"bytes": None, "path": "gone.flac"},
        {"bytes": None, "path": "../outside.flac"},
        {"bytes": None, "path": str(tmp_path / "outside.flac")},
        {"bytes": None, "path": "https://example.org/a.flac"},
        {"bytes": None, "path": f"zip://a.flac::{tmp_path}/outside.zip"},
        {"bytes": None, "path": "link.flac"},
        {"bytes": good, "path": None},
    ]
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "link.flac").symlink_to(tmp_path / "outside.flac")
    table = pa.table({"audio": audio, "text": [str(k) for k in range(len(audio))]})
    pq.write_table(table, folder / "train.parquet")
    assert reasons(folder, tmp_path, streaming=streaming) == [
        None,
        Reason.AUDIO_MISSING,
        Reason.AUDIO_MISSING,
        Reason.UNREADABLE_AUDIO,
        Reason.UNREADABLE_AUDIO,
        Reason.AUDIO_MISSING,
        *[Reason.PATH_OUTSIDE_CORPUS] * 5,
        None,
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_paths_may_be_absolute_within_the_folder(
    tmp_path: Path, rows: list[Row], *, streaming: bool
) -> None:
    folder = tmp_path / "d"
    (folder / "clips").mkdir(parents=True)
    (folder / "clips" / "a.flac").write_bytes(rows[0]["audio"]["bytes"])
    lines = [
        {"audio": f"{folder}/clips/a.flac", "text": "a"},
        {"audio": "clips/a.flac", "text": "b"},
        {"audio": f"{folder}/../d/clips/gone.flac", "text": "c"},
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = reasons(folder, tmp_path, streaming=streaming)
    assert found == [None, None, Reason.AUDIO_MISSING]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_path_that_is_no_text_is_rejected_and_no_other_row(
    tmp_path: Path, rows: list[Row], *, streaming: bool
) -> None:
    (tmp_path / "d").mkdir()
    path = pa.array([b"a.flac", b"\xff.flac", b"c.flac"]).cast(pa.string(), safe=False)
    content = pa.array([row["audio"]["bytes"] for row in rows[:3]])
    audio = pa.StructArray.from_arrays([content, path], ["bytes", "path"])
    table = pa.table({"audio": audio, "text": ["a", "b", "c"], "key": ["3", "2", "1"]})
    pq.write_table(table, tmp_path / "d" / "train.parquet")
    found = reasons(tmp_path / "d", tmp_path, streaming=streaming)
    assert found == [None, Reason.AUDIO_MISSING, None]


def test_a_clip_above_the_bound_is_not_taken(tmp_path: Path, rows: list[Row]) -> None:
    folder = write_parquet(tmp_path / "d", {"train": rows[:2]})
    bounds = Bounds(max_file_bytes=len(rows[0]["audio"]["bytes"]))
    corpora = [config(folder)] * 2
    found = list(
        open_candidates(candidates(folder), corpora=corpora, bounds=bounds, scratch=tmp_path)
    )
    assert isinstance(found[0], Opened)
    assert isinstance(found[1], Rejection)
    assert found[1].reason is Reason.TOO_LONG


@pytest.mark.parametrize("streaming", [False, True])
def test_audio_in_a_zip_is_read(tmp_path: Path, rows: list[Row], *, streaming: bool) -> None:
    write_audiofolder(tmp_path / "plain", {"train": rows[:3]})
    shutil.make_archive(str(tmp_path / "d" / "train"), "zip", tmp_path / "plain" / "train")
    listed = candidates(tmp_path / "d", streaming=streaming)
    found = opened(listed, config(tmp_path / "d"), tmp_path)
    assert [content for content, _ in contents(found)] == [
        row["audio"]["bytes"] for row in rows[:3]
    ]


def rewritten(folder: Path, rows: Sequence[Row]) -> None:
    path = next(folder.glob("data/*.parquet"))
    Dataset.from_list(list(rows), features=FEATURES).to_parquet(path)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (slice(1, None), "the row train/0.* has another transcript now"),
        (slice(0, 4), "the row train/.*4 is there no more"),
    ],
)
def test_a_dataset_that_changed_since_it_was_listed_stops_the_run(
    tmp_path: Path, rows: list[Row], kept: slice, message: str, *, streaming: bool
) -> None:
    folder = write_parquet(tmp_path / "d", {"train": rows[:6]}, files=1)
    listed = candidates(folder, streaming=streaming)
    rewritten(folder, rows[:6][kept])
    again = config(folder, limit=7)  # another entry, as another process would have it
    with pytest.raises(CorpusError, match=f"{message}: the dataset is not the one that was list"):
        opened(listed, again, tmp_path)


def test_two_folders_of_one_name_and_one_readme_are_two_datasets(
    tmp_path: Path, rows: list[Row]
) -> None:
    card = "---\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n---\n"
    for k, name in enumerate(("a", "b")):
        folder = write_parquet(tmp_path / name / "d", {"train": rows[k : k + 1]}, files=1)
        (folder / "README.md").write_text(card)
        assert [row.transcript for row in candidates(folder)] == [rows[k]["text"]]


def test_a_folder_whose_files_changed_is_prepared_anew(tmp_path: Path, rows: list[Row]) -> None:
    folder = write_parquet(tmp_path / "d", {"train": rows[:1]}, files=1)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n---\n"
    )
    assert [row.transcript for row in candidates(folder)] == [rows[0]["text"]]
    rewritten(folder, rows[1:2])
    assert [row.transcript for row in candidates(folder)] == [rows[1]["text"]]
