"""Members of real tars and zips: found and read in place, hostile ones refused."""

import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.audio.window import FileWindow
from sllm_data.corpora import archive_index
from sllm_data.corpora.archive_index import index_of, read_index
from sllm_data.corpora.archives import split_member
from sllm_data.corpora.audio_file import AudioFile
from sllm_data.corpora.sources import long_file, read_file
from sllm_data.errors import CorpusError
from sllm_data.records import Reason

MAX_BYTES = 1 << 20
CLIPS = {
    "a.wav": b"first",
    "folder/b.wav": b"second" * 1_000,
    "./c.wav": b"",
    "ü.wav": b"\x00" * 999,
}


def write_tar(path: Path, members: Mapping[str, bytes], *, kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, members: Mapping[str, bytes], *, kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


WRITERS = [
    pytest.param(lambda p, m: write_tar(p / "x.tar", m), id="pax"),
    pytest.param(lambda p, m: write_tar(p / "x.tar", m, kind=tarfile.GNU_FORMAT), id="gnu"),
    pytest.param(lambda p, m: write_tar(p / "x.tar", m, kind=tarfile.USTAR_FORMAT), id="ustar"),
    pytest.param(lambda p, m: write_zip(p / "x.zip", m), id="stored"),
    pytest.param(lambda p, m: write_zip(p / "x.zip", m, kind=zipfile.ZIP_DEFLATED), id="deflated"),
]
Write = Callable[[Path, Mapping[str, bytes]], Path]


def read(root: Path, path: str, *, max_bytes: int = MAX_BYTES) -> bytes | Reason:
    found = read_file(root, path, max_bytes=max_bytes)
    return found.content if isinstance(found, AudioFile) else found[0]


@pytest.mark.parametrize("write", WRITERS)
def test_every_member_is_read_by_its_name(tmp_path: Path, write: Write) -> None:
    archive = write(tmp_path, CLIPS)
    for name, content in CLIPS.items():
        for asked in (name, name.removeprefix("./"), f"./{name}"):
            found = read_file(tmp_path, f"{archive.name}:{asked}", max_bytes=MAX_BYTES)
            assert found == AudioFile(content=content, name=name.rpartition("/")[2])


@pytest.mark.parametrize("write", WRITERS[:2] + WRITERS[3:])
def test_long_names_are_read(tmp_path: Path, write: Write) -> None:
    name = "/".join(["folder" * 10] * 6) + ".wav"
    archive = write(tmp_path, {name: b"content", "next.wav": b"next"})
    assert read(tmp_path, f"{archive.name}:{name}") == b"content"
    assert read(tmp_path, f"{archive.name}:next.wav") == b"next"


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("gone.wav", Reason.AUDIO_MISSING),
        ("folder", Reason.AUDIO_MISSING),
        ("/a.wav", Reason.PATH_OUTSIDE_CORPUS),
        ("folder/../a.wav", Reason.PATH_OUTSIDE_CORPUS),
        ("../a.wav", Reason.PATH_OUTSIDE_CORPUS),
        ("big.wav", Reason.TOO_LONG),
    ],
)
def test_a_member_that_cannot_be_used_is_a_reason(
    tmp_path: Path, write: Write, member: str, reason: Reason
) -> None:
    members = {**CLIPS, "../a.wav": b"evil", "/a.wav": b"evil", "big.wav": b"x" * (MAX_BYTES + 1)}
    assert read(tmp_path, f"{write(tmp_path, members).name}:{member}") is reason


@pytest.mark.parametrize("write", WRITERS)
def test_of_a_name_that_stands_twice_the_last_counts(tmp_path: Path, write: Write) -> None:
    archive = write(tmp_path, {"a.wav": b"old", "./a.wav": b"new"})
    assert read(tmp_path, f"{archive.name}:a.wav") == b"new"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_no_audio(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("a.wav")
        info.type, info.linkname = kind, str(tmp_path / "secret")
        archive.addfile(info)
    found = read_file(tmp_path, "x.tar:a.wav", max_bytes=MAX_BYTES)
    assert found == (
        Reason.AUDIO_MISSING,
        "x.tar: 'a.wav' in it must be a file, is a link, a device or a sparse file",
    )


def test_links_and_unknown_codings_in_a_zip_are_no_audio(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("link.wav")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("lzma.wav", b"x" * 100, zipfile.ZIP_LZMA)
    assert read(tmp_path, "x.zip:link.wav") is Reason.AUDIO_MISSING
    assert read(tmp_path, "x.zip:lzma.wav") is Reason.AUDIO_MISSING


def with_flag(content: bytes, signature: bytes, at: int, bit: int) -> bytes:
    place = content.index(signature) + at
    return content[:place] + bytes([content[place] | bit]) + content[place + 1 :]


def test_an_encrypted_member_is_no_audio(tmp_path: Path) -> None:
    content = write_zip(tmp_path / "x.zip", {"a.wav": b"x"}).read_bytes()
    (tmp_path / "x.zip").write_bytes(with_flag(content, b"PK\x01\x02", 8, 1))
    assert read(tmp_path, "x.zip:a.wav") is Reason.AUDIO_MISSING


def claimed(path: Path, *, size: int) -> None:
    """Changes what a zip's directory says of the size of its only member."""
    content = path.read_bytes()
    place = content.index(b"PK\x01\x02") + 24
    path.write_bytes(content[:place] + struct.pack("<I", size) + content[place + 4 :])


def test_a_zip_bomb_is_never_inflated(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "x.zip", {"a.wav": bytes(100 << 20)}, kind=zipfile.ZIP_DEFLATED)
    assert read(tmp_path, "x.zip:a.wav") is Reason.TOO_LONG
    claimed(bomb, size=100)
    tracemalloc.start()
    assert read(tmp_path, "x.zip:a.wav") is Reason.UNREADABLE_AUDIO
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * MAX_BYTES


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_of_another_size_or_checksum_is_unreadable(tmp_path: Path, kind: int) -> None:
    path = write_zip(tmp_path / "x.zip", {"a.wav": b"some content of a clip"}, kind=kind)
    content = path.read_bytes()
    claimed(path, size=21)
    assert read(tmp_path, "x.zip:a.wav") is Reason.UNREADABLE_AUDIO
    start = 30 + len("a.wav")
    path.write_bytes(content[:start] + b"Q" + content[start + 1 :])
    assert read(tmp_path, "x.zip:a.wav") is Reason.UNREADABLE_AUDIO


@pytest.mark.parametrize("write", WRITERS)
def test_a_long_file_in_an_archive_is_read_from_its_middle(tmp_path: Path, write: Write) -> None:
    archive = write(tmp_path, {"a.wav": b"x" * 700, "b.wav": bytes(range(200)) * 5, "c": b"end"})
    with long_file(tmp_path, f"{archive.name}:b.wav", max_bytes=MAX_BYTES) as file:
        assert isinstance(file, FileWindow)
        file.seek(600)
        assert file.read(1_000) == bytes(range(200)) * 2


def test_what_must_be_inflated_must_fit_into_memory_and_what_is_stored_need_not(
    tmp_path: Path,
) -> None:
    content = bytes(MAX_BYTES + 1)
    write_zip(tmp_path / "s.zip", {"a.wav": content})
    write_zip(tmp_path / "d.zip", {"a.wav": content}, kind=zipfile.ZIP_DEFLATED)
    with long_file(tmp_path, "s.zip:a.wav", max_bytes=MAX_BYTES) as stored:
        assert isinstance(stored, FileWindow)
        assert stored.seek(0, os.SEEK_END) == len(content)
    with long_file(tmp_path, "d.zip:a.wav", max_bytes=MAX_BYTES) as deflated:
        assert not isinstance(deflated, FileWindow)
        assert deflated[0] is Reason.TOO_LONG


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar.bz2", "x.TAR.XZ"])
def test_a_compressed_tar_is_an_error_that_says_what_to_do(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / name, "w:gz"):
        pass
    with pytest.raises(CorpusError, match=r"uncompress it to a \.tar"):
        read(tmp_path, f"{name}:a.wav")


@pytest.mark.parametrize("suffix", ["tar", "zip"])
@pytest.mark.parametrize("content", [b"", b"x" * 5_000, b"\x1f\x8b" + b"x" * 5_000])
def test_what_is_no_archive_is_an_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"x.{suffix}").write_bytes(content)
    with pytest.raises(CorpusError, match=f"must be a plain .{suffix} archive"):
        read(tmp_path, f"x.{suffix}:a.wav")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("cut", [1, 600, 1_500, 5_000])
def test_an_archive_that_was_cut_off_is_an_error(tmp_path: Path, write: Write, cut: int) -> None:
    members = {f"{k}.wav": os.urandom(3_000) for k in range(5)}
    path = write(tmp_path, members)
    content = path.read_bytes()
    last = content.rstrip(b"\0")  # behind the last content a tar has zeros only
    path.write_bytes(last[:-cut])
    with pytest.raises(CorpusError, match="must be a plain"):
        read_index(path)


def test_a_damaged_header_in_the_middle_of_a_tar_is_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {f"{k}.wav": b"x" * 600 for k in range(3)})
    content = bytearray(path.read_bytes())
    content[512 * 3 + 10] ^= 1  # in the name of the second member
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="no header at byte 1536"):
        read_index(path)


def test_a_header_that_leads_backwards_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {f"{k}.wav": b"x" * 600 for k in range(3)})
    content = bytearray(path.read_bytes())
    third, second = 3 * 1024, 1536
    header = content[third : third + 512]
    header[124:136] = (second - third - 512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content[third : third + 512] = header
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="must be a plain"):
        read_index(path)


def test_memory_holds_places_and_no_headers(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {f"{k}.wav": b"" for k in range(2_000)})
    tracemalloc.start()
    read_index(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 600_000


NAME = "n" * 80 + "/" + "n" * 80


@settings(max_examples=300)
@given(st.sampled_from(range(len(WRITERS))), st.data())
def test_damage_anywhere_gives_an_index_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, number: int, data: st.DataObject
) -> None:
    write: Write = WRITERS[number].values[0]  # type: ignore[assignment]
    path = write(tmp_path_factory.mktemp("damage"), {"a.wav": b"x" * 600, NAME: b"y"})
    content = bytearray(path.read_bytes().rstrip(b"\0") + bytes(1024))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(st.binary(min_size=1, max_size=12))
        content[at : at + len(new)] = new
    path.write_bytes(content)
    try:
        index = read_index(path)
    except CorpusError:
        return
    member = index.find("a.wav")
    if not isinstance(member, tuple):
        found = read_file(path.parent, f"{path.name}:a.wav", max_bytes=MAX_BYTES)
        assert isinstance(found, AudioFile | tuple)


def test_an_index_is_read_once_and_again_where_the_archive_changed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.wav": b"1"})
    first = index_of(path)
    assert index_of(path) is first
    write_tar(path, {"b.wav": b"22" * 8_000})
    assert index_of(path) is not first
    assert read(tmp_path, "x.tar:b.wav") == b"22" * 8_000


def test_indexes_in_memory_are_bounded(tmp_path: Path) -> None:
    indexes = archive_index._Indexes(max_bytes=5_000)
    paths = [write_tar(tmp_path / f"{k}.tar", {f"{j}": b"" for j in range(50)}) for k in range(4)]
    kept = [indexes.of(path) for path in paths]
    assert indexes.of(paths[3]) is kept[3]
    assert indexes.of(paths[0]) is not kept[0]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a.wav", ("a.wav", None)),
        ("folder/x.tar:a.wav", ("folder/x.tar", "a.wav")),
        ("x.tar:y.zip:a.wav", ("x.tar", "y.zip:a.wav")),
        ("a:b.wav", ("a:b.wav", None)),
        ("x.tar:", ("x.tar:", None)),
        ("x.tar.gz:a", ("x.tar.gz", "a")),
    ],
)
def test_the_first_archive_in_a_path_holds_the_rest(path: str, parts: tuple[str, object]) -> None:
    assert split_member(path) == parts


def test_an_archive_behind_a_link_out_of_the_corpus_is_not_opened(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    root.mkdir()
    write_tar(tmp_path / "x.tar", {"a.wav": b"secret"})
    (root / "x.tar").symlink_to(tmp_path / "x.tar")
    assert read(root, "x.tar:a.wav") is Reason.PATH_OUTSIDE_CORPUS
    assert read(root, "../x.tar:a.wav") is Reason.PATH_OUTSIDE_CORPUS


def test_a_zip_member_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a.wav": b"first", "Q.wav": b"nameless"})
    path.write_bytes(path.read_bytes().replace(b"Q.wav", b"\x00.wav"))  # a name ends at a NUL
    assert read(tmp_path, "x.zip:a.wav") == b"first"
    assert index_of(path).find("")[0] is Reason.AUDIO_MISSING
