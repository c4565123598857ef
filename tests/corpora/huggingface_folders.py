"""Folders that `datasets.load_dataset` reads, in each layout from the same rows."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Value
from pydantic import TypeAdapter

from sllm_data.corpora.config import CorpusConfig, HuggingFaceConfig
from sllm_data.corpora.reading import read_corpus
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate, Rejection

Row = Mapping[str, Any]
Splits = Mapping[str, Sequence[Row]]

CORPUS: TypeAdapter[HuggingFaceConfig] = TypeAdapter(CorpusConfig)

GENDERS = ("female", "male")
FEATURES = Features(
    {
        "audio": Audio(),
        "text": Value("string"),
        "speaker_id": Value("string"),
        "gender": ClassLabel(names=list(GENDERS)),
        "topic": Value("string"),
    }
)


def make_rows(speech_bytes: Callable[..., bytes], number: int, *, first: int = 0) -> list[Row]:
    """Rows with clips that differ in their lengths."""
    return [
        {
            "audio": {"bytes": speech_bytes(0.4 + 0.01 * k), "path": f"clip-{k}.flac"},
            "text": f"Sentence number {k}.",
            "speaker_id": f"speaker {k % 3}",
            "gender": k % 2,
            "topic": "weather" if k % 2 else "",
        }
        for k in range(first, first + number)
    ]


def write_parquet(
    folder: Path, splits: Splits, *, files: int = 2, group: int = 3, features: Features = FEATURES
) -> Path:
    """Parquet files as `push_to_hub` names them."""
    (folder / "data").mkdir(parents=True)
    for split, rows in splits.items():
        size = -(-len(rows) // files)
        for k in range(files):
            part = Dataset.from_list(list(rows[k * size : (k + 1) * size]), features=features)
            name = f"{split}-{k:05d}-of-{files:05d}.parquet"
            part.to_parquet(folder / "data" / name, batch_size=group)
    return folder


def write_saved(folder: Path, splits: Splits) -> Path:
    """A folder of `save_to_disk`."""
    tables = {s: Dataset.from_list(list(rows), features=FEATURES) for s, rows in splits.items()}
    DatasetDict(tables).save_to_disk(folder)
    return folder


def write_audiofolder(folder: Path, splits: Splits, *, table: str = "metadata.csv") -> Path:
    """Audio files with a metadata table in the folder of each split."""
    for split, rows in splits.items():
        (folder / split).mkdir(parents=True)
        lines = []
        for row in rows:
            name = row["audio"]["path"]
            if row["audio"]["bytes"] is not None:
                (folder / split / name).write_bytes(row["audio"]["bytes"])
            lines.append({"file_name": name, **_words(row)})
        _write_table(folder / split / table, lines)
    return folder


def write_jsonl(folder: Path, splits: Splits) -> Path:
    """A JSON line for each row, with the path of its audio."""
    (folder / "clips").mkdir(parents=True)
    for split, rows in splits.items():
        lines = []
        for row in rows:
            (folder / "clips" / row["audio"]["path"]).write_bytes(row["audio"]["bytes"])
            lines.append({"audio": f"clips/{row['audio']['path']}", **_words(row)})
        _write_table(folder / f"{split}.jsonl", lines)
    return folder


def write_webdataset(folder: Path, splits: Splits) -> Path:
    """Two tars for each split: audio, text and JSON of a row side by side."""
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        for k, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
            with tarfile.open(folder / f"{split}-{k}.tar", "w") as tar:
                for row in part:
                    key = Path(row["audio"]["path"]).stem
                    _add(tar, f"{key}.flac", row["audio"]["bytes"])
                    _add(tar, f"{key}.json", json.dumps(_words(row)).encode())
    return folder


LAYOUTS: dict[str, Callable[[Path, Splits], Path]] = {
    "parquet": write_parquet,
    "saved": write_saved,
    "audiofolder csv": write_audiofolder,
    "audiofolder jsonl": lambda f, s: write_audiofolder(f, s, table="metadata.jsonl"),
    "jsonl": write_jsonl,
    "webdataset": write_webdataset,
}


def _words(row: Row) -> dict[str, str]:
    words = {name: value for name, value in row.items() if name != "audio"}
    return words | {"gender": GENDERS[row["gender"]]}


def _write_table(path: Path, lines: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as table:
        if path.suffix == ".jsonl":
            table.writelines(json.dumps(line) + "\n" for line in lines)
            return
        writer = csv.DictWriter(table, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def config(path: Path | str, **fields: object) -> HuggingFaceConfig:
    return CORPUS.validate_python(
        {"kind": "huggingface", "path": str(path), "language": "en"} | fields
    )


def listed(path: Path | str, **fields: object) -> list[Candidate | Rejection]:
    return list(read_corpus(config(path, **fields), entry=1, speaker_salt="salt"))


def candidates(path: Path | str, **fields: object) -> list[Candidate]:
    rows = listed(path, **fields)
    assert not [row for row in rows if isinstance(row, Rejection)]
    return [row for row in rows if isinstance(row, Candidate)]


def rejection(path: Path, **fields: object) -> Rejection:
    (found,) = [row for row in listed(path, **fields) if isinstance(row, Rejection)]
    assert found.step == "candidates"
    assert len(found.detail.splitlines()) == 1
    return found


def refusal(path: Path | str, **fields: object) -> str:
    with pytest.raises(CorpusError) as caught:
        listed(path, **fields)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)
