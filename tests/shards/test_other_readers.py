"""`datasets`, DuckDB and pyarrow read every table without this package."""

import io

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import soundfile
from datasets import Audio, Dataset, Features, load_dataset
from pyarrow import parquet as pq

from sllm_data.shards import TABLES, write_part
from sllm_data.shards.features import features_of
from tests.shards.random_rows import some_rows

every_table = pytest.mark.parametrize("name", TABLES)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A part of each table with a few rows, by table; the rows beside it."""
    root = tmp_path_factory.mktemp("parts")
    found = {}
    for name, table in TABLES.items():
        rows = some_rows(table)
        write_part(root, f"{name}.parquet", rows, table=table, identity="i")
        found[name] = (root / f"{name}.parquet", rows)
    return found


@pytest.fixture
def loaded(parts, tmp_path):
    def load(name: str) -> Dataset:
        path, _ = parts[name]
        return load_dataset(
            "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
        )

    return load


@every_table
def test_datasets_reads_the_rows(parts, loaded, name):
    found = loaded(name)
    if name == "audio":
        found = found.cast_column("audio", Audio(decode=False))
    assert list(found) == parts[name][1]


@every_table
def test_datasets_reads_the_features_from_the_footer(loaded, name):
    assert loaded(name).features == Features.from_dict(features_of(TABLES[name].arrow))


def test_the_audio_column_plays(tmp_path):
    wave = (np.sin(np.arange(16_000) / 20) * 20_000).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16_000, format="FLAC")
    row = dict.fromkeys(TABLES["audio"].names(), "x") | {
        "audio": {"bytes": buffer.getvalue(), "path": "x.flac"},
        "sampling_rate": 16_000,
        "num_channels": 1,
        "num_samples": 16_000,
        "duration_s": 1.0,
        "entry": 0,
        "speaker": {},
        "source": {},
    }
    write_part(tmp_path, "a.parquet", [row], table=TABLES["audio"], identity="i")
    found = load_dataset(
        "parquet",
        data_files=str(tmp_path / "a.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert isinstance(found.features["audio"], Audio)
    played = found[0]["audio"].get_all_samples()
    assert played.sample_rate == 16_000
    assert np.array_equal(played.data[0].numpy(), wave / np.float32(32_768))


@every_table
def test_duckdb_reads_the_rows(parts, name):
    path, rows = parts[name]
    with duckdb.connect() as database:
        found = database.sql(f"SELECT * FROM read_parquet('{path}')").to_arrow_table()
    assert found.to_pylist() == rows


@every_table
def test_pyarrow_reads_the_rows(parts, name):
    path, rows = parts[name]
    assert pq.read_table(path).to_pylist() == rows


def test_features_are_worded_as_datasets_words_them():
    schema = pa.schema([("x", pa.float64()), ("y", pa.list_(pa.float32())), ("z", pa.bool_())])
    assert features_of(schema) == {
        "x": {"dtype": "float64", "_type": "Value"},
        "y": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"},
        "z": {"dtype": "bool", "_type": "Value"},
    }
