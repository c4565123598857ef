"""What is no part, or not whole any more, is one sentence that says so."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as pq

from sllm_data.errors import ShardError
from sllm_data.shards import SCHEMA_VERSION, TABLES, read_footer, read_part, record_of, write_part
from tests.shards.test_parts import rejection

ROWS = [rejection(i) for i in range(50)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    root = tmp_path_factory.mktemp("whole")
    write_part(
        root,
        "a.parquet",
        ROWS,
        table=TABLES["rejections"],
        identity="i",
        counts={"rejections": {"silent": 50}},
    )
    return (root / "a.parquet").read_bytes()


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_part_that_was_cut_off_is_refused(tmp_path_factory, whole, share):
    path = tmp_path_factory.getbasetemp() / "cut.parquet"
    path.write_bytes(whole[: int(share * len(whole))])
    for read in (read_part, read_footer, lambda path: record_of(path.parent, path.name)):
        with pytest.raises(ShardError, match=r"cut\.parquet: must be a whole Parquet file, found"):
            read(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_harmless_and_never_a_traceback(
    tmp_path_factory, whole, place, bit
):
    damaged = bytearray(whole)
    damaged[int(place * len(whole))] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.parquet"
    path.write_bytes(damaged)
    for read in (read_part, read_footer):
        said = _refusal(read, path)
        assert said is None or (said.startswith(f"{path}: ") and "\n" not in said)


def _refusal(read, path) -> str | None:
    try:
        read(path)
    except ShardError as error:
        return str(error)
    return None


def test_a_flipped_bit_in_stored_audio_is_noticed(tmp_path):
    clip = bytes(range(256)) * 40
    row = dict.fromkeys(TABLES["audio"].names(), "x") | {
        "audio": {"bytes": clip, "path": "x.flac"},
        "sampling_rate": 16_000,
        "num_channels": 1,
        "num_samples": 1,
        "duration_s": 1.0,
        "entry": 0,
        "speaker": {},
        "source": {},
    }
    write_part(tmp_path, "a.parquet", [row], table=TABLES["audio"], identity="i")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[content.index(clip) + 5_000] ^= 1
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ShardError, match=r"a\.parquet: can't be read: .*checksum"):
        read_part(tmp_path / "a.parquet")


def test_a_missing_part_names_the_remedy(tmp_path):
    with pytest.raises(ShardError, match="the part must exist; run the step that writes it"):
        read_part(tmp_path / "part-00000.parquet")


def test_a_folder_is_no_part(tmp_path):
    with pytest.raises(ShardError, match="must be a whole Parquet file"):
        read_part(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"<html>not found</html>", b"PAR1PAR1PAR1"])
def test_what_is_no_parquet_is_refused(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(ShardError, match="must be a whole Parquet file, found"):
        read_footer(path)


def test_a_foreign_parquet_file_is_refused_by_what_its_footer_lacks(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(
        ShardError, match=r"written by sllm-data, its footer lacks sllm_data\.schema_version;"
    ):
        read_footer(path)


def _with_footer(path, **changes: str) -> None:
    entries = {
        "sllm_data.table": "rejections",
        "sllm_data.schema_version": str(SCHEMA_VERSION),
        "sllm_data.identity": "i",
        "sllm_data.counts": "{}",
    } | {f"sllm_data.{name}": value for name, value in changes.items()}
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata(entries), path)


def test_a_newer_schema_is_refused_with_the_remedy(tmp_path):
    _with_footer(tmp_path / "a.parquet", schema_version="2", counts="of another kind")
    with pytest.raises(
        ShardError, match="has schema version 2, this sllm-data reads up to 1; update"
    ):
        read_footer(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": "{"},
        {"counts": "[1]"},
        {"counts": '{"rows": 3}'},
        {"counts": '{"rows": {"en": "3"}}'},
        {"counts": "[" * 100_000},
        {"schema_version": "first"},
    ],
)
def test_a_footer_that_holds_nonsense_is_refused(tmp_path, changes):
    _with_footer(tmp_path / "a.parquet", **changes)
    with pytest.raises(ShardError, match="its footer holds what none has"):
        read_footer(tmp_path / "a.parquet")


def test_a_missing_column_is_named(tmp_path, whole):
    (tmp_path / "a.parquet").write_bytes(whole)
    with pytest.raises(ShardError, match=r"must have the columns \['clip', 'split'\], lacks them"):
        read_part(tmp_path / "a.parquet", ["row_id", "split", "clip"])
