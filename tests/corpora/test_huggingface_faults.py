"""What is wrong with a dataset as a whole ends in one sentence, whatever the library raises."""

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.corpora.config import Bounds
from sllm_data.corpora.huggingface_rows import row_reader
from sllm_data.corpora.opening import open_candidates
from sllm_data.corpora.reading import read_corpus
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate
from tests.corpora.huggingface_folders import (
    LAYOUTS,
    config,
    make_rows,
    refusal,
    write_parquet,
)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by datasets

Speech = Callable[..., bytes]


@pytest.fixture(autouse=True)
def files_are_let_go() -> Iterator[None]:
    yield
    row_reader.cache_clear()
    gc.collect()


CARD = """---
configs:
- config_name: one
  data_files: data/*.parquet
- config_name: two
  data_files: data/*.parquet
---
"""


def folder_with(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({".git": ""}, "doesn't contain any data files"),
        ({"notes.xyz": "words"}, "No (supported) data files found"),
        (
            {"README.md": "---\nconfigs: [\n---\n", "train.csv": "text\na\n"},
            "while parsing a flow node",
        ),
        (
            {"d.py": "raise SystemExit", "train.csv": "text\na\n"},
            "scripts are no longer supported",
        ),
        ({"train.jsonl": ""}, "its first data file holds no rows"),
        ({"train.jsonl": '{"text": "a"}\n{"text"'}, "JSON parse error"),
        ({"train.tar": ""}, "empty file"),
        ({"train.parquet": "PAR1"}, "Parquet file size is 4 bytes"),
        ({"metadata.csv": "file_name,text\n../a.wav,a\n", "a.wav": ""}, "must be a relative path"),
        ({"metadata.csv": "name,text\na.wav,a\n", "a.wav": ""}, "`file_name`, `*_file_name`"),
    ],
)
def test_a_folder_that_is_no_dataset_is_one_sentence(
    tmp_path: Path, files: dict[str, str], message: str, *, streaming: bool
) -> None:
    found = refusal(folder_with(tmp_path / "d", files), streaming=streaming)
    assert found.startswith(f"{tmp_path / 'd'}: datasets can't read it: ")
    assert message in found


@pytest.mark.parametrize("streaming", [False, True])
def test_the_configurations_there_are_named(
    tmp_path: Path, speech_bytes: Speech, *, streaming: bool
) -> None:
    folder = write_parquet(tmp_path / "d", {"train": make_rows(speech_bytes, 2)}, files=1)
    (folder / "README.md").write_text(CARD)
    assert "['one', 'two']" in refusal(folder, streaming=streaming)
    assert "['one', 'two']" in refusal(folder, config_name="three", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_data_files_with_other_columns_are_one_sentence(
    tmp_path: Path, *, streaming: bool
) -> None:
    files = {"train-0.jsonl": '{"audio": "a", "text": "a"}\n', "train-1.jsonl": '{"said": "b"}\n'}
    assert "said" in refusal(folder_with(tmp_path / "d", files), streaming=streaming)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, speech_bytes: Speech) -> dict[str, Path]:
    rows = make_rows(speech_bytes, 3)
    root = tmp_path_factory.mktemp("sound")
    return {name: write(root / name, {"train": rows}) for name, write in LAYOUTS.items()}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=12)
@given(data=st.data())
def test_damage_ends_in_rows_or_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    sound: dict[str, Path],
    layout: str,
    data: st.DataObject,
    *,
    streaming: bool,
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "d"
    shutil.copytree(sound[layout], folder)
    names = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".flac")
    path = data.draw(st.sampled_from(names))
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content) - 1))
    stop = data.draw(st.integers(start, min(len(content), start + 20)))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=20)) + content[stop:])
    corpus = config(folder, streaming=streaming, columns={"transcript": ["text", "json.text"]})
    try:
        listed = list(read_corpus(corpus, entry=0, speaker_salt="salt"))
        rows = [row for row in listed if isinstance(row, Candidate)]
        opened = open_candidates(rows, corpora=[corpus], bounds=Bounds(), scratch=folder.parent)
        assert len(list(opened)) == len(rows)
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - or nothing is raised


@pytest.mark.parametrize("streaming", [False, True])
def test_a_byte_that_changed_in_a_page_with_a_checksum_is_no_other_transcript(
    tmp_path: Path, speech_bytes: Speech, *, streaming: bool
) -> None:
    """A letter in place of another: without the checksum nothing would tell."""
    folder = write_parquet(tmp_path / "d", {"train": make_rows(speech_bytes, 4)}, files=1)
    (path,) = folder.glob("data/*.parquet")
    pq.write_table(
        pq.read_table(path),
        path,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    )
    content = path.read_bytes()
    assert content.count(b"Sentence number 2.") == 1
    path.write_bytes(content.replace(b"Sentence number 2.", b"Sentence lumber 2."))
    assert "CRC checksum verification failed" in refusal(folder, streaming=streaming)
