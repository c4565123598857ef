"""How rows lie in a part: audio one clip a page and uncompressed, text compressed."""

import pytest
from pyarrow import parquet as pq

from sllm_data.shards import TABLES, write_part
from sllm_data.shards.parts import AUDIO_ROWS_PER_GROUP
from tests.shards.parquet_pages import pages_of

_PLAIN = 0


def clip(number: int, size: int) -> dict[str, object]:
    return {
        "audio_id": f"c/1/en/{number:06d}",
        "audio": {"bytes": number.to_bytes(4) * (size // 4), "path": f"{number}.flac"},
        "sha256": "0" * 64,
        "pcm_sha256": "1" * 64,
        "codec": "flac/pcm_16",
        "sampling_rate": 16_000,
        "num_channels": 1,
        "num_samples": 16_000,
        "duration_s": 1.0,
        "transcript": "the same words",
        "language": "en",
        "speaker": {"id": "s"},
        "corpus_split": None,
        "source": {"corpus": "c"},
        "extra": "{}",
        "entry": 0,
    }


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """250 clips of 72 kB."""
    root = tmp_path_factory.mktemp("layout")
    rows = (clip(i, 72_000) for i in range(250))
    write_part(root, "a.parquet", rows, table=TABLES["audio"], identity="i")
    return root / "a.parquet"


def test_a_row_group_of_audio_has_at_most_100_rows(stored):
    metadata = pq.read_metadata(stored)
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [100, 100, 50]
    assert AUDIO_ROWS_PER_GROUP == 100


def test_each_clip_has_a_page_of_its_own(stored):
    pages = [page for group in pages_of(stored, "audio.bytes") for page in group]
    assert [page.num_values for page in pages] == [1] * 250


def test_audio_pages_are_plain_uncompressed_and_checked(stored):
    pages = [page for group in pages_of(stored, "audio.bytes") for page in group]
    assert all(page.encoding == _PLAIN and page.has_checksum for page in pages)
    assert all(page.num_bytes >= 72_000 for page in pages)


def test_small_clips_share_pages_of_64_kib(tmp_path):
    rows = (clip(i, 20_000) for i in range(12))
    write_part(tmp_path, "a.parquet", rows, table=TABLES["audio"], identity="i")
    (pages,) = pages_of(tmp_path / "a.parquet", "audio.bytes")
    assert [page.num_values for page in pages] == [4, 4, 4]


def test_only_the_bytes_are_uncompressed_and_without_statistics(stored):
    group = pq.read_metadata(stored).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    plain = {c.path_in_schema for c in columns if c.compression == "UNCOMPRESSED"}
    silent = {c.path_in_schema for c in columns if not c.is_stats_set}
    assert plain == {"audio.bytes"}
    assert silent == {"audio.bytes"}
    assert {c.compression for c in columns} == {"UNCOMPRESSED", "ZSTD"}


def test_repeated_strings_are_dictionaries_and_bytes_are_not(stored):
    group = pq.read_metadata(stored).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["transcript"].has_dictionary_page
    assert columns["source.corpus"].has_dictionary_page
    assert not columns["audio.bytes"].has_dictionary_page


def test_long_clips_end_a_row_group_early(tmp_path):
    rows = (clip(i, 30 * 2**20) for i in range(4))
    write_part(tmp_path, "a.parquet", rows, table=TABLES["audio"], identity="i")
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 1]


def test_rows_are_taken_as_a_stream_one_group_at_a_time(tmp_path):
    taken = []

    def rows():
        for i in range(250):
            if i == 201:  # two groups must have reached the file by now
                taken.append((tmp_path / ".a.parquet.tmp").stat().st_size)
            yield clip(i, 8_000)

    write_part(tmp_path, "a.parquet", rows(), table=TABLES["audio"], identity="i")
    assert taken[0] >= 200 * 8_000


def test_page_indexes_are_written(stored):
    group = pq.read_metadata(stored).row_group(0)
    assert all(group.column(i).has_offset_index for i in range(group.num_columns))


def test_text_tables_are_compressed_throughout(tmp_path):
    row = {"audio_id": "a", "audio_part": 0, "kept": True, "split": "train", "tasks": ["x"]}
    write_part(tmp_path, "i.parquet", [row] * 100, table=TABLES["index"], identity="i")
    group = pq.read_metadata(tmp_path / "i.parquet").row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}
