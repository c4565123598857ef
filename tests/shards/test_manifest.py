"""A manifest comes back as it was written; anything else is refused with a remedy."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import ShardError
from sllm_data.shards import Manifest, PartRecord, read_manifest, write_manifest

texts = st.text(max_size=6)
totals = st.dictionaries(texts, st.dictionaries(texts, st.integers(0), max_size=3), max_size=3)
records = st.builds(
    PartRecord,
    file=texts,
    rows=st.integers(0),
    bytes=st.integers(0),
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
