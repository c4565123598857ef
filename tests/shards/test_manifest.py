"""A manifest comes back as it was written; anything else is refused with a remedy."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import ShardError
from sllm_data.shards import Manifest, PartRecord, read_manifest, write_manifest

texts = st.text(max_size=6)
counts = st.integers(0, 2**63 - 1)
totals = st.dictionaries(texts, st.dictionaries(texts, counts, max_size=3), max_size=3)
files = st.builds("{}/part-{:05d}.parquet".format, st.sampled_from(["audio", "a b/ü"]), counts)
records = st.builds(
    PartRecord,
    file=files,
    rows=counts,
    bytes=counts,
    sha256=texts,
    footer_sha256=texts,
)
manifests = st.builds(
    Manifest,
    step=texts,
    identity=texts,
    inputs=st.dictionaries(texts, texts, max_size=3),
    parts=st.lists(records, max_size=3).map(tuple),
    counts=totals,
    code_version=texts,
    extra=st.dictionaries(texts, texts, max_size=3),
)


@given(manifests)
def test_reading_gives_back_what_was_written(tmp_path_factory, manifest):
    path = tmp_path_factory.getbasetemp() / "manifest.json"
    write_manifest(path, manifest)
    found = read_manifest(path)
    assert found == manifest
    assert found.digest() == manifest.digest()


@given(manifests, manifests)
def test_digests_differ_where_manifests_do(one, other):
    assert (one.digest() == other.digest()) == (one == other)


def test_no_manifest_is_none(tmp_path):
    assert read_manifest(tmp_path / "manifest" / "ingest.json") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"parts": 3}',
        '{"parts": [{}]}',
        '{"parts": [], "step": "ingest"}',
        "[" * 100_000,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_a_damaged_manifest_is_refused_with_the_remedy(tmp_path, text):
    path = tmp_path / "ingest.json"
    path.write_text(text)
    with pytest.raises(ShardError, match=r"ingest\.json: must be a manifest .*delete it and run"):
        read_manifest(path)


def test_an_unknown_field_is_refused(tmp_path):
    path = tmp_path / "ingest.json"
    manifest = Manifest(
        step="ingest", identity="i", inputs={}, parts=(), counts={}, code_version="0"
    )
    write_manifest(path, manifest)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    with pytest.raises(ShardError, match="colour"):
        read_manifest(path)


def test_a_manifest_that_can_not_be_read_says_why(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    (tmp_path / "folder.json").mkdir()
    for name in ("bytes.json", "folder.json"):
        with pytest.raises(ShardError, match=f"{name}: the manifest can't be read"):
            read_manifest(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"step": 3}, "step: Input should be a valid string"),
        ({"parts": [3]}, "parts.0"),
        ({"parts": [{"file": "../../x", "rows": 1}]}, "parts.0.file: .*a file of the dataset"),
        ({"parts": [{"file": "/x", "rows": 1}]}, "parts.0.file: .*a file of the dataset"),
        ({"counts": {"rows": 3}}, "counts.rows"),
        ({"counts": {"rows": {"en": -1}}}, "counts.rows.en"),
        ({"extension": True}, "extension"),
        ({"extra": {"libsndfile": None}}, "extra.libsndfile"),
    ],
)
def test_a_manifest_with_values_of_other_types_is_refused(tmp_path, changes, found):
    path = tmp_path / "ingest.json"
    manifest = Manifest(
        step="ingest", identity="i", inputs={}, parts=(), counts={}, code_version="0"
    )
    write_manifest(path, manifest)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ShardError, match=f"written by sllm-data, found {found}"):
        read_manifest(path)
