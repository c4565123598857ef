"""Files are whole or absent, paths stay inside, and one folder has one writer."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import OutputError
from sllm_data.files import (
    atomic_path,
    inside,
    new_folder,
    output_lock,
    remove_temporaries,
    sha256_of_bytes,
    sha256_of_file,
    sha256_of_text,
    shipped_folder,
    write_text,
)

_HOLD = """
import sys
from pathlib import Path
from sllm_data.files import output_lock
with output_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
_FULL = """
import resource, sys
from pathlib import Path
from sllm_data.errors import OutputError
from sllm_data.files import write_text
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
try:
    write_text(Path(sys.argv[1]), "x" * 10_000)
except OutputError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
"""


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_under_its_final_name(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "grüße")
    assert path.read_bytes() == "grüße".encode()
    assert _names(path.parent) == ["file.txt"]


def test_while_it_is_written_the_final_name_holds_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_an_exception_leaves_neither_the_file_nor_a_temporary_one(tmp_path):
    def write() -> None:
        with atomic_path(tmp_path / "file.txt") as temporary:
            temporary.write_text("half")
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        write()
    assert _names(tmp_path) == []


def test_an_exception_keeps_the_file_that_was_there(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file.txt"]


def test_a_leftover_of_a_killed_run_is_no_obstacle(tmp_path):
    (tmp_path / ".file.txt.tmp").write_bytes(b"torn" * 1_000)
    write_text(tmp_path / "file.txt", "whole")
    assert (tmp_path / "file.txt").read_text() == "whole"
    assert _names(tmp_path) == ["file.txt"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    path = tmp_path / "file.txt"
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{path}: can't be written: File too large; make room")
    assert _names(tmp_path) == []


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    kept = [".lock", ".work/spill.bin", "manifest/a.json", "notes.tmp", "rejections/.hidden"]
    left = [".run.yaml.tmp", "rejections/ingest/.part-00001.parquet.tmp"]
    for name in (*kept, *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    found = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]
    assert sorted(found) == sorted(kept)


@pytest.mark.parametrize("name", ["below/file.txt", "x" * 300])
def test_a_folder_that_can_not_be_used_is_an_output_error(tmp_path, name):
    (tmp_path / "below").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="can't be written"):
        write_text(tmp_path / name, "text")


def test_a_path_that_is_a_folder_is_an_output_error(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match=r"taken: can't be written: Is a directory"):
        write_text(tmp_path / "taken", "text")
    assert _names(tmp_path) == ["taken"]


@given(st.binary(max_size=5_000))
def test_digests_are_those_of_hashlib(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "digest"
    path.write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert sha256_of_file(path) == sha256_of_bytes(content) == expected


def test_text_with_a_lone_surrogate_has_a_digest_too():
    assert sha256_of_text("ü") == hashlib.sha256("ü".encode()).hexdigest()
    assert len(sha256_of_text("\ud800")) == 64


@pytest.mark.parametrize("name", ["prompts", "instruction_pools", "recipes"])
def test_shipped_folders_are_found(name):
    assert any(shipped_folder(name).iterdir())


_PIECES = st.lists(
    st.one_of(
        st.sampled_from(["..", ".", "", "a", "out", "up", "loop", "root"]), st.text(max_size=4)
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """root/ with links out of it, up, into itself, and in a circle."""
    base = tmp_path_factory.mktemp("tree")
    root = base / "root"
    (root / "a").mkdir(parents=True)
    (base / "secret").write_text("not for you")
    (root / "out").symlink_to(base / "secret")
    (root / "up").symlink_to("..")
    (root / "same").symlink_to("a")
    (root / "loop").symlink_to("loop")
    return root


@given(_PIECES)
def test_a_path_that_is_given_back_never_leaves_the_root(tree, pieces):
    found = inside(tree, "/".join(pieces))
    if found is not None:
        assert os.path.realpath(found).startswith(str(tree.resolve()))


@pytest.mark.parametrize(
    "relative",
    [
        "..",
        "../root2/x",
        "a/../../secret",
        "/etc/passwd",
        "//etc/passwd",
        "out",
        "up/secret",
        "a\x00b",
        "\ud800",
    ],
)
def test_paths_that_lead_outside_are_none(tree, relative):
    assert inside(tree, relative) is None


@pytest.mark.parametrize(
    "relative", ["a", "a/new.flac", "a/../a/x", "same/x", "up/root/a", "loop", "..."]
)
def test_paths_that_stay_inside_are_kept_as_they_are_named(tree, relative):
    assert inside(tree, relative) == tree / relative


def test_a_root_that_is_a_link_itself_is_no_escape(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    assert inside(tmp_path / "link", "a") == tmp_path / "link" / "a"


def test_a_sibling_whose_name_begins_alike_is_outside(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root-2")
    assert inside(tmp_path / "root", "link") is None


def test_a_second_process_is_refused_until_the_first_dies(tmp_path):
    output = tmp_path / "new" / "dataset"
    first = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with first:
        assert first.stdout.readline() == b"held\n"
        with (
            pytest.raises(OutputError, match="another run is writing this folder"),
            output_lock(output),
        ):
            pass
        first.kill()
    with output_lock(output):
        assert (output / ".lock").exists()


def test_the_lock_is_free_again_after_an_exception(tmp_path):
    with pytest.raises(KeyError), output_lock(tmp_path):
        raise KeyError
    with output_lock(tmp_path):
        pass


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="the output must be a folder that can be written"),
        output_lock(tmp_path / "file"),
    ):
        pass


def test_a_folder_is_whole_or_absent(tmp_path):
    path = tmp_path / "a/out"
    with pytest.raises(OutputError, match="No such file"), new_folder(path) as folder:
        (folder / "none/half").write_text("x")
    assert _names(path.parent) == []
    with new_folder(path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner/file").write_text("x")
        assert not path.exists()
    assert _names(path.parent) == ["out"]
    assert _names(path) == ["inner"]


def test_a_new_folder_takes_an_empty_one_and_refuses_what_holds_something(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("x")
    refused = pytest.raises(OutputError, match="must not exist or be an empty folder")
    for there in (tmp_path / "out", tmp_path / "out/file"):
        with refused, new_folder(there):
            pytest.fail("it was begun")
    assert (tmp_path / "out/file").read_text() == "x"


def test_a_new_folder_has_one_writer_and_clears_what_a_killed_one_left(tmp_path):
    left = tmp_path / ".out.tmp/whole/half"
    left.parent.mkdir(parents=True)
    left.write_text("x")
    with new_folder(tmp_path / "out") as folder:
        assert _names(folder) == []
        refused = pytest.raises(OutputError, match="another run is writing this folder")
        with refused, new_folder(tmp_path / "out"):
            pytest.fail("there are two")
    assert _names(tmp_path) == ["out"]
