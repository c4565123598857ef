"""Manifests on disk: which rows become candidates, and what stops a run at once."""

import gzip
import io
import json
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sllm_data.corpora.manifest import read_manifest
from sllm_data.corpora.manifest_config import ManifestConfig
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate, Reason, Rejection
from sllm_data.seeding import hash128

Row = dict[str, Any]


def row(path: str = "a.wav", **fields: object) -> Row:
    return {"audio_filepath": path, "text": "Hello.", **fields}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus folder with some (empty) audio, and a secret beside it."""
    root = tmp_path / "corpus"
    (root / "wavs").mkdir(parents=True)
    for name in ("a.wav", "b.wav", "wavs/c.wav"):
        (root / name).touch()
    (tmp_path / "secret.wav").touch()
    (root / "link.wav").symlink_to(tmp_path / "secret.wav")
    (root / "inner.wav").symlink_to(root / "a.wav")
    return root


def write(folder: Path, *lines: Row | bytes | str, name: str = "m.jsonl", end: str = "\n") -> Path:
    texts = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    contents = [text if isinstance(text, bytes) else text.encode() for text in texts]
    path = folder / name
    path.write_bytes(b"".join(content + end.encode() for content in contents))
    return path


def read(path: Path, **fields: Any) -> Iterator[Candidate | Rejection]:
    options = {"language": "en"} | fields
    config = ManifestConfig.model_validate({"kind": "manifest", "path": path, **options})
    return read_manifest(config, entry=3, speaker_salt="salt")


def candidates(path: Path, **fields: Any) -> list[Candidate]:
    rows = list(read(path, **fields))
    assert not [each for each in rows if isinstance(each, Rejection)]
    return [each for each in rows if isinstance(each, Candidate)]


def rejection(path: Path, **fields: Any) -> Rejection:
    (found,) = (each for each in read(path, **fields) if isinstance(each, Rejection))
    assert found.step == "candidates"
    assert len(found.detail.splitlines()) == 1
    return found


def test_a_row_becomes_a_candidate_with_all_that_it_says(folder: Path) -> None:
    manifest = write(
        folder,
        row("wavs/c.wav", id="17", lang="de", speaker=9, gender="F", age="33", accent="Wien")
        | {"split": "dev", "duration": 2.5, "snr": 20.5},
    )
    (found,) = candidates(
        manifest, name="mine", version="2.0", licence="CC-BY-4.0", attribution="Me"
    )
    assert found.audio_id == "mine/2.0/de/17"
    assert (found.audio_path, found.transcript, found.language) == ("wavs/c.wav", "Hello.", "de")
    assert (found.entry, found.duration_s, found.start_s) == (3, 2.5, None)
    assert found.speaker.id == hash128("salt", "9")
    assert (found.speaker.gender, found.speaker.age, found.speaker.accent) == (
        "female",
        "33",
        "Wien",
    )
    assert found.corpus_split == "validation"
    assert (found.source.licence, found.source.attribution) == ("CC-BY-4.0", "Me")
    assert found.extra == {"snr": "20.5", "manifest_line": "m.jsonl:1"}


def test_what_a_row_does_not_say_comes_from_the_entry_or_is_unknown(folder: Path) -> None:
    (found,) = candidates(write(folder, row()), language="fr", corpus_split="test")
    assert (found.language, found.corpus_split, found.speaker.id) == ("fr", "test", None)
    assert (found.source.corpus, found.source.version) == ("manifest", "1")
    assert (found.source.licence, found.source.attribution) == ("unknown", "manifest")


def test_speakers_stay_as_they_are_where_the_entry_says_so(folder: Path) -> None:
    (found,) = candidates(write(folder, row(speaker="19")), hash_speakers=False)
    assert found.speaker.id == "19"


def test_a_split_in_other_words_is_none_of_ours_and_kept(folder: Path) -> None:
    (found,) = candidates(write(folder, row(split="pilot")), corpus_split="train")
    assert (found.corpus_split, found.extra["split"]) == (None, "pilot")


def test_ids_are_made_of_path_and_times_and_sort_by_them(folder: Path) -> None:
    times = [(9.5, 1.0), (10.0, 1.0), (10.0, 2.0), (100.25, None)]
    rows = [row(offset=offset, duration=duration) for offset, duration in times]
    found = candidates(write(folder, row(), *rows, row("b.wav")))
    ids = [each.audio_id for each in found]
    assert len(set(ids)) == 6
    assert ids[1].startswith("manifest/1/en/a-0000009500-")
    assert [ids[k] for k in (1, 2, 3, 4)] == sorted(ids[1:5], key=lambda i: i[:28])
    assert [each.start_s for each in found] == [None, 9.5, 10.0, 10.0, 100.25, None]
    assert [each.duration_s for each in found] == [None, 1.0, 1.0, 2.0, None, None]


def test_the_same_row_elsewhere_has_the_same_id(folder: Path, tmp_path: Path) -> None:
    manifest = write(folder, row(offset=1, duration=2))
    (first,) = candidates(manifest)
    folder.rename(tmp_path / "moved")
    (second,) = candidates(tmp_path / "moved" / "m.jsonl")
    assert first == second


@pytest.mark.parametrize("own", ["a b", "a/../b", "a%b", "x" * 499, "ü", "语音"])
def test_any_id_becomes_a_printable_one_and_two_stay_two(folder: Path, own: str) -> None:
    first, second = candidates(write(folder, row(id=own), row(id=own.replace(" ", "_") + "_")))
    assert first.audio_id != second.audio_id
    assert first.audio_id.isprintable()
    assert ".." not in first.audio_id.split("/")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.wav", "a.wav"),
        ("./wavs//c.wav", "wavs/c.wav"),
        ("inner.wav", "inner.wav"),
        ("gone.wav", Reason.AUDIO_MISSING),
        ("wavs", Reason.AUDIO_MISSING),
        ("x" * 300, Reason.AUDIO_MISSING),
        ("a.wav/b", Reason.AUDIO_MISSING),
        ("../secret.wav", Reason.PATH_OUTSIDE_CORPUS),
        ("wavs/../a.wav", Reason.PATH_OUTSIDE_CORPUS),
        ("/etc/passwd", Reason.PATH_OUTSIDE_CORPUS),
        ("link.wav", Reason.PATH_OUTSIDE_CORPUS),
        ("a\0.wav", Reason.MALFORMED_ROW),
    ],
)
def test_audio_is_a_file_in_the_folder_of_the_manifest(
    folder: Path, path: str, expected: str | Reason
) -> None:
    manifest = write(folder, row("b.wav", id="other"), row(path, id="this"))
    if isinstance(expected, str) and not isinstance(expected, Reason):
        assert candidates(manifest)[1].audio_path == expected
        return
    found = rejection(manifest)
    assert found.reason is expected
    assert found.row_id == "manifest/1/m.jsonl:2"
    assert found.detail.startswith("m.jsonl:2: ")


def test_absolute_paths_are_good_where_they_lie_in_the_audio_root(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(folder)
    manifest = write(tmp_path, row(str(folder / "a.wav")))
    assert candidates(manifest, audio_root=folder)[0].audio_path == "a.wav"
    assert candidates(manifest, audio_root=tmp_path / "alias")[0].audio_path == "a.wav"
    found = rejection(manifest, audio_root=folder / "wavs")
    assert found.reason is Reason.PATH_OUTSIDE_CORPUS


def test_several_manifests_are_read_in_the_order_given(folder: Path) -> None:
    (folder / "lists").mkdir()
    write(folder, row("a.wav"), name="train.json")
    write(folder, row("wavs/c.wav"), name="lists/dev.jsonl")
    found = candidates(folder, manifests=["lists/dev.jsonl", "train.json"])
    assert [each.audio_path for each in found] == ["wavs/c.wav", "a.wav"]
    assert [each.extra["manifest_line"] for each in found] == ["lists/dev.jsonl:1", "train.json:1"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_line_ends_and_empty_lines_are_no_matter(folder: Path, end: str) -> None:
    lines = [b"\xef\xbb\xbf" + json.dumps(row()).encode(), "", " \t", row("b.wav")]
    manifest = write(folder, *lines, end=end)
    manifest.write_bytes(manifest.read_bytes().removesuffix(end.encode()))
    found = candidates(manifest)
    assert [each.audio_path for each in found] == ["a.wav", "b.wav"]
    assert found[1].extra["manifest_line"] == "m.jsonl:4"


def test_a_compressed_manifest_reads_the_same(folder: Path) -> None:
    plain = write(folder, row(), row("b.wav"))
    (folder / "z").mkdir()
    (folder / "z/m.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    packed = candidates(folder / "z/m.jsonl.gz", audio_root=folder)
    assert [each.audio_path for each in packed] == ["a.wav", "b.wav"]


@pytest.mark.parametrize("damage", [slice(0, 40), slice(5, None)])
def test_a_damaged_compressed_manifest_is_an_error(folder: Path, damage: slice) -> None:
    content = gzip.compress(write(folder, *[row()] * 50).read_bytes())
    (folder / "m.jsonl.gz").write_bytes(content[damage])
    with pytest.raises(CorpusError, match=r"m\.jsonl\.gz: "):
        list(read(folder / "m.jsonl.gz"))


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b'{"audio_filepath": "a.wav", "text": "cut o',
        b"[]",
        b'{"x": "' + b"x" * (1 << 20) + b'"}',
        b'{"audio_filepath": "a.wav", "text": "\x00"}',
        json.dumps(row(duration="3")).encode(),
    ],
)
def test_a_bad_line_is_rejected_with_its_place_and_the_others_are_read(
    folder: Path, line: bytes
) -> None:
    rows = list(read(write(folder, row(), line, row("b.wav"))))
    assert [type(each) for each in rows] == [Candidate, Rejection, Candidate]
    found = rows[1]
    assert isinstance(found, Rejection)
    assert (found.reason, found.audio_id) == (Reason.MALFORMED_ROW, None)
    assert found.row_id == "manifest/1/m.jsonl:2"


def test_a_row_without_text_or_language_is_rejected(folder: Path) -> None:
    no_text = write(folder, row(), {"audio_filepath": "b.wav"})
    assert rejection(no_text).reason is Reason.TRANSCRIPT_MISSING
    no_language = write(folder, row(lang="en"), row("b.wav"))
    found = rejection(no_language, language=None)
    assert (found.reason, found.row_id) == (Reason.MALFORMED_ROW, "manifest/1/m.jsonl:2")


def test_members_of_archives_are_named_in_the_path_or_by_the_entry(folder: Path) -> None:
    with tarfile.open(folder / "audio_0.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("x.wav"))
    in_path = write(folder, row("audio_0.tar:x.wav"), row("audio_0.tar:y.wav"), row("no.tar:x"))
    rows = list(read(in_path))
    assert isinstance(rows[0], Candidate)
    assert rows[0].audio_path == "audio_0.tar:x.wav"
    assert [each.reason for each in rows[1:] if isinstance(each, Rejection)] == [
        Reason.AUDIO_MISSING,
        Reason.AUDIO_MISSING,
    ]
    by_entry = write(folder, row("x.wav", shard_id=0), name="n.json")
    assert candidates(by_entry, archive="audio_{shard}.tar") == [
        # the place in the manifest differs, all else is the same
        Candidate(**(_fields(rows[0]) | {"extra": {"manifest_line": "n.json:1"}}))
    ]


def _fields(candidate: Candidate) -> dict[str, Any]:
    return {name: getattr(candidate, name) for name in Candidate.__dataclass_fields__}


def test_a_row_whose_archive_is_not_told_is_rejected(folder: Path) -> None:
    (folder / "x").mkdir()
    manifest = write(folder, row(), row(shard_id="../x"))
    first, second = read(manifest, archive="{shard}.tar")
    assert isinstance(first, Rejection)
    assert isinstance(second, Rejection)
    assert (first.reason, second.reason) == (Reason.MALFORMED_ROW, Reason.PATH_OUTSIDE_CORPUS)


def test_segments_of_one_member_are_named_as_nemo_does(folder: Path) -> None:
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name in ("long.wav", "b-sub1.wav", "b.wav"):
            archive.addfile(tarfile.TarInfo(name))
    rows = [row(name, offset=k) for k, name in enumerate(("long.wav", "long-sub1.wav"))]
    found = candidates(write(folder, *rows, row("b-sub1.wav")), archive="a.tar")
    assert [each.audio_path for each in found] == [
        "a.tar:long.wav",
        "a.tar:long.wav",
        "a.tar:b-sub1.wav",
    ]


def test_a_damaged_archive_stops_the_listing(folder: Path) -> None:
    (folder / "x.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(CorpusError, match=r"x\.tar: must be a plain \.tar archive"):
        list(read(write(folder, row("x.tar:a.wav"))))


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        ([], {}, "must hold one JSON object a line, has none of them"),
        (["[", "1"], {}, "must hold one JSON object a line"),
        (
            [{"wav": "a", "sentence": "b"}, {"path": 1}],
            {},
            "must have the keys audio_filepath and text, found: wav, sentence, path; say in",
        ),
        (
            [row()],
            {"columns": {"transcript": ["a", "b"]}},
            "keys audio_filepath and a or b, found",
        ),
        ([row()], {"language": None}, "`language` must be set in this corpus entry, no line"),
    ],
)
def test_a_manifest_where_nothing_fits_is_an_error_that_says_what_is_there(
    folder: Path, lines: list[Row | bytes | str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read(write(folder, *lines), **options)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("gone.jsonl", {}, "must be a manifest, there is none"),
        (".", {}, "is a folder; name its manifests in `manifests`, it has: m.jsonl"),
        (".", {"manifests": "n.jsonl"}, "has no manifest n.jsonl; it has: m.jsonl"),
        (".", {"manifests": "../m.jsonl"}, "leaves it"),
        ("m.jsonl", {"manifests": "m.jsonl"}, "must be the folder of `manifests`"),
        ("m.jsonl", {"audio_root": "gone"}, "gone: must be the folder of the audio"),
    ],
)
def test_a_wrong_path_is_an_error_that_says_what_is_there(
    folder: Path, path: str, options: dict[str, Any], message: str
) -> None:
    write(folder, row())
    with pytest.raises(CorpusError, match=message):
        read(folder / path, **options)


def test_memory_does_not_grow_with_the_lines(folder: Path) -> None:
    manifest = write(folder, *[row(offset=k, duration=2, note="x" * 50) for k in range(4_000)])
    tracemalloc.start()
    num_rows = sum(isinstance(each, Candidate) for each in read(manifest))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_rows == 4_000
    assert peak < 300_000  # the rows are 400 kB


PATHS = st.sampled_from(
    ["a.wav", "../secret.wav", "link.wav", "/etc/passwd", "a.tar:x", "wavs", "~", "", "wavs/c.wav"]
)
NUMBERS = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=3))
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "audio_filepath": PATHS | st.text() | st.integers(),
        "text": st.text() | st.none(),
        "offset": NUMBERS,
        "duration": NUMBERS,
        "id": st.text() | st.integers(),
        "lang": st.text(max_size=5),
        "speaker": st.text() | st.integers(),
        "split": st.text(max_size=8),
    },
)


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.binary().filter(lambda b: b"\n" not in b) | ROWS, max_size=5))
def test_every_line_is_a_candidate_or_a_rejection(folder: Path, lines: list[bytes | Row]) -> None:
    with tarfile.open(folder / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO())
    manifest = write(folder, row(), *lines)
    rows = list(read(manifest))
    empty = sum(isinstance(line, bytes) and not line.strip() for line in lines)
    assert len(rows) == 1 + len(lines) - empty
    for each in rows:
        path = each.audio_path if isinstance(each, Candidate) else "a.wav"
        assert (folder / path.partition(":")[0]).resolve().is_relative_to(folder.resolve())


def test_every_audio_id_begins_as_the_entry_says(folder: Path) -> None:
    found = candidates(write(folder, row(lang="de"), row(lang="pt_BR")), name="x", version="v1")
    assert [each.audio_id.split("/")[:3] for each in found] == [
        ["x", "v1", "de"],
        ["x", "v1", "pt-BR"],
    ]
