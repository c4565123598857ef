"""A copy and its folder in a storage: what goes where, and what never goes."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sllm_data.config import resolve
from sllm_data.errors import ConfigError, OutputError, StorageError
from sllm_data.storage.lease import NAME, leased
from sllm_data.storage.mirror import Mirror
from sllm_data.storage.places import local_copy, url_of
from sllm_data.storage.store import Store


def write(root: Path, name: str, text: str = "x") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def until_it_raises(call: Callable[[], None]) -> None:
    while True:
        call()
        time.sleep(0.01)


@pytest.fixture
def store(s3):
    return Store.open(s3.url, patience_s=0.5)


def test_both_sides_become_the_same(store, tmp_path):
    for root in ("a", "b"):
        (tmp_path / root).mkdir()
    for name in ("run.yaml", "samples/part-00000.parquet", "manifest/assemble.json", "README.md"):
        write(tmp_path / "a", name, name)
    write(tmp_path / "a", ".lock")
    write(tmp_path / "a", ".work/listed.parquet")
    with Mirror(tmp_path / "a", store) as mirror:
        assert mirror.settle() == 4
        assert mirror.settle() == 0
    write(tmp_path / "b", "reports/stats.json", "b")
    with Mirror(tmp_path / "b", store) as mirror:
        assert mirror.settle() == 5
    assert (tmp_path / "b/samples/part-00000.parquet").read_text() == "samples/part-00000.parquet"
    assert set(store.entries()) == {
        *("run.yaml", "samples/part-00000.parquet", "manifest/assemble.json", "README.md"),
        "reports/stats.json",
    }


NAMED = ("audio/part-00000.parquet", "rejections/plan.main/part-00000.parquet")


@pytest.fixture
def listed_late(s3, store, tmp_path):
    """A dataset in the storage whose listing does not show its parts yet."""
    for name in NAMED:
        write(tmp_path / "there", name, f"there {name}")
    parts = [{"file": name} for name in (*NAMED, "audio/part-00001.parquet", "/etc/passwd")]
    write(tmp_path / "there", "manifest/plan.main.json", json.dumps({"parts": parts}))
    write(tmp_path / "there", "manifest/broken.json", '{"parts": 7}')
    with Mirror(tmp_path / "there", store) as mirror:
        mirror.settle()
    s3.proxy.unlisted = "part-"
    assert set(store.entries()) == {"manifest/plan.main.json", "manifest/broken.json"}


@pytest.mark.usefixtures("listed_late")
@pytest.mark.parametrize("one", [Mirror.pull, Mirror.settle])
def test_parts_that_are_listed_late_are_fetched_where_a_manifest_names_them(one, store, tmp_path):
    (tmp_path / "here").mkdir()
    with Mirror(tmp_path / "here", store) as mirror:
        assert one(mirror) == 4
        assert one(mirror) == 0
    for name in NAMED:
        assert (tmp_path / "here" / name).read_text() == f"there {name}"


@pytest.mark.usefixtures("listed_late")
def test_a_part_that_is_listed_late_is_not_written_over(store, tmp_path):
    write(tmp_path / "here", NAMED[0], "made here before the other machine made its own")
    with Mirror(tmp_path / "here", store) as mirror:
        mirror.settle()
    assert (tmp_path / "here" / NAMED[0]).read_text() == f"there {NAMED[0]}"


def test_a_copy_that_goes_while_a_run_works_takes_nothing_with_it(store, tmp_path):
    root = tmp_path / "copy"
    write(root, "responses/main/part-00000.parquet")
    with Mirror(root, store) as mirror:
        mirror.send_changed()
        (root / "responses/main/part-00000.parquet").unlink()
        with pytest.raises(OutputError, match="must stay in the copy while a run goes on, it wen"):
            mirror.send_changed()
        root.rename(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=r"can't be written: No such file or directory"):
            mirror.send_changed()
    assert set(store.entries()) == {"responses/main/part-00000.parquet"}


def test_what_a_run_removes_of_an_unfinished_listing_goes_there_too(store, tmp_path):
    write(tmp_path, "candidates/part-00001.parquet")
    with Mirror(tmp_path, store) as mirror:
        mirror.send_changed()
        (tmp_path / "candidates/part-00001.parquet").unlink()
        mirror.send_changed()
    assert not store.entries()


def test_what_is_gone_there_goes_here_unless_it_was_changed_here(store, tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b")
    with Mirror(tmp_path, store) as mirror:
        mirror.settle()
        store.remove("a")
        store.remove("b")
        write(tmp_path, "b", "changed")
        mirror.settle()
    assert not (tmp_path / "a").exists()
    assert set(store.entries()) == {"b"}


def test_a_failure_in_the_background_ends_the_work_at_the_next_part(s3, store, tmp_path):
    for name in ("a", "b", "c"):
        write(tmp_path, name)
    with Mirror(tmp_path, store) as mirror:
        s3.proxy.is_away = True
        mirror.send_soon(["a"])
        with pytest.raises(StorageError, match="the storage must answer"):
            until_it_raises(lambda: mirror.send_soon(["b"]))
        s3.proxy.is_away = False


def test_a_cut_line_of_the_state_says_nothing_of_its_file(store, tmp_path):
    write(tmp_path, "a")
    with Mirror(tmp_path, store) as mirror:
        mirror.settle()
    state = tmp_path / ".mirror.jsonl"
    line = state.read_text().strip()
    state.write_text(line[: len(line) // 2])
    with Mirror(tmp_path, store) as mirror:
        assert mirror.settle() == 1
    assert json.loads(state.read_text())["name"] == "a"


def test_a_lease_that_another_has_taken_lets_nothing_be_sent(store, tmp_path):
    write(tmp_path, "part")

    def take_it_and_check() -> None:
        # a beat that had looked just before may have written over the one that took it
        store.write(NAME, b'{"holder": "another", "host": "there", "pid": 1}')
        lease.check()

    with leased(store, beat_s=0.5) as lease:
        lease.check()
        with pytest.raises(StorageError, match=r"is writing here \(process 1 of there"):
            until_it_raises(take_it_and_check)
        with Mirror(tmp_path, store, lease=lease) as mirror, pytest.raises(StorageError):
            mirror.send_changed()
    assert set(store.entries()) == {NAME}


def test_a_lease_of_a_process_that_is_gone_is_taken_over_and_said(store, caplog):
    store.write(NAME, b'{"holder": "another", "host": "there", "pid": 1}')
    with leased(store, beat_s=0.05):
        assert json.loads(store.read(NAME, max_bytes=10_000))["holder"] != "another"
    (said,) = (r.getMessage() for r in caplog.records if r.name == "sllm_data.storage.lease")
    assert "the run that wrote here (process 1 of there) is gone" in said
    assert store.read(NAME, max_bytes=10_000) is None


@pytest.mark.parametrize("url", ["s3://b", "s3://b/x/y", "gs://b/c", "hf://datasets/o/n"])
def test_a_copy_knows_its_url(url, monkeypatch, tmp_path):
    monkeypatch.setenv("SLLM_COPIES", str(tmp_path))
    assert url_of(local_copy(url)) == url
    assert url_of(tmp_path) is None


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///x", "s3://b/../c", "s3://KEY:SECRET@b/x", "s3://b/x?key=SECRET"]
)
def test_a_url_that_names_no_folder_is_one_sentence_without_its_secrets(url):
    document = {"seed": 1, "output": url, "corpora": [{"kind": "librispeech", "path": "x"}]}
    with pytest.raises(
        ConfigError, match="output: a URL must be protocol://bucket/folder"
    ) as said:
        resolve(document | {"backbone": {"engine": "scripted"}}, where="run.yaml")
    assert "SECRET" not in str(said.value)


def test_the_hub_is_no_output():
    document = {"seed": 1, "output": "hf://datasets/o/n", "backbone": {"engine": "scripted"}}
    corpora = [{"kind": "librispeech", "path": "x"}]
    with pytest.raises(ConfigError, match="output: must not be on the hub"):
        resolve(document | {"corpora": corpora}, where="run.yaml")
