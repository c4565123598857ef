"""Parts that were damaged after their step had committed them: a sentence, never wrong rows."""

import shutil
import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps_datasets import digests

from sllm_data.config import RunConfig
from sllm_data.errors import OutputError, ShardError
from sllm_data.shards import check_unchanged, read_manifest
from sllm_data.steps import Progress, run_step
from sllm_data.steps.database import open_database

SILENT = Progress(None)
PART = "audio/part-00000.parquet"
READ = ("audio_id", "transcript", "language", "pcm_sha256", "speaker.id", "corpus_split")


@pytest.fixture(scope="module")
def ingested(tmp_path_factory, configured) -> Path:
    root = tmp_path_factory.mktemp("ingested") / "dataset"
    for step in ("candidates", "ingest"):
        run_step(configured(root, part_size=100), step, SILENT)
    return root


@pytest.fixture(scope="module")
def indexed(ingested, configured, tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("indexed") / "dataset"
    shutil.copytree(ingested, root)
    run_step(configured(root, part_size=100), "index", SILENT)
    return {name: digest for name, digest in digests(root).items() if name != PART}


@settings(max_examples=40)
@given(
    column=st.sampled_from(READ),
    flip=st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)),
)
def test_a_byte_that_flips_where_the_index_reads_ends_in_a_sentence_or_changes_nothing(
    ingested, indexed, configured, column, flip
):
    share, bit = flip
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "dataset"
        shutil.copytree(ingested, root)
        start, size = _chunk(root / PART, column)
        content = bytearray((root / PART).read_bytes())
        content[start + int(share * size)] ^= 1 << bit
        (root / PART).write_bytes(content)
        sentence = _index(configured(root, part_size=100))
        if sentence is None:
            assert {n: d for n, d in digests(root).items() if n != PART} == indexed
        else:
            assert folder in sentence
            assert "\n" not in sentence


def _index(config: RunConfig) -> str | None:
    try:
        run_step(config, "index", SILENT)
    except ShardError as error:
        return str(error)
    return None


def _chunk(part: Path, column: str) -> tuple[int, int]:
    group = pq.ParquetFile(part).metadata.row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    (chunk,) = (chunk for chunk in chunks if chunk.path_in_schema == column)
    return chunk.dictionary_page_offset, chunk.total_compressed_size


@pytest.mark.parametrize("cut", [1, 8, 100, 10_000])
def test_a_part_of_a_manifest_that_was_cut_off_is_named_with_what_to_do(ingested, tmp_path, cut):
    shutil.copytree(ingested, tmp_path / "dataset")
    part = tmp_path / "dataset" / PART
    manifest = read_manifest(tmp_path / "dataset/manifest/ingest.json")
    check_unchanged(tmp_path / "dataset", manifest)
    part.write_bytes(part.read_bytes()[:-cut])
    with pytest.raises(
        ShardError, match=rf"{PART}: .* that ingest wrote, .*delete it and manifest"
    ):
        check_unchanged(tmp_path / "dataset", manifest)


def test_a_part_of_the_right_size_that_is_another_one_is_found(ingested, tmp_path):
    shutil.copytree(ingested, tmp_path / "dataset")
    part = tmp_path / "dataset" / PART
    manifest = read_manifest(tmp_path / "dataset/manifest/ingest.json")
    part.write_bytes(b"\xff" * part.stat().st_size)
    with pytest.raises(ShardError, match=r"found: (another file|Invalid argument)"):
        check_unchanged(tmp_path / "dataset", manifest)


def test_a_damaged_part_that_is_deleted_with_its_manifest_is_made_anew(
    ingested, indexed, configured, tmp_path
):
    root = tmp_path / "dataset"
    shutil.copytree(ingested, root)
    (root / PART).unlink()
    (root / "manifest/ingest.json").unlink()
    for step in ("ingest", "index"):
        run_step(configured(root, part_size=100), step, SILENT)
    assert {n: d for n, d in digests(root).items() if n != PART} == indexed
    assert digests(root)[PART] == digests(ingested)[PART]


def test_old_parts_are_looked_at_before_a_dataset_grows(ingested, configured, document, tmp_path):
    root = tmp_path / "dataset"
    corpora = document(root)["corpora"]
    first = configured(root, part_size=100, corpora=corpora[:1])
    for step in ("candidates", "ingest", "index", "plan.main", "generate.main", "assemble"):
        run_step(first, step, SILENT)
    (root / PART).write_bytes((root / PART).read_bytes()[:-1])
    grown = configured(root, part_size=100, corpora=corpora)
    run_step(grown, "candidates", SILENT, extend=True)
    with pytest.raises(ShardError, match=r"part-00000.* that ingest wrote"):
        run_step(grown, "ingest", SILENT, extend=True)


def test_a_file_that_is_gone_while_the_database_reads_is_a_sentence(tmp_path):
    with pytest.raises(OutputError, match="No files found"), open_database(tmp_path) as database:
        database.execute("SELECT * FROM read_parquet('nowhere/part-*.parquet')")


def test_a_file_that_is_no_parquet_is_a_sentence_that_names_it(tmp_path):
    (tmp_path / "a.parquet").write_text("<html></html>")
    with (
        pytest.raises(ShardError, match=r"a[.]parquet") as caught,
        open_database(tmp_path) as found,
    ):
        found.execute(f"SELECT * FROM read_parquet('{tmp_path}/a.parquet')")
    assert "\n" not in str(caught.value)


def test_our_own_mistakes_in_sql_stay_what_they_are(tmp_path):
    with pytest.raises(duckdb.ParserException), open_database(tmp_path) as database:
        database.execute("SELEKT 1")
