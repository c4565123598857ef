"""A folder of object storage: S3 over HTTP with faults in front, disk, memory."""

import multiprocessing
import os
import pickle
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3_server import PAGE, S3, SECRET

from sllm_data.errors import ConfigError, StorageError
from sllm_data.storage.backend import Entry
from sllm_data.storage.store import Store, is_url

MIB = 2**20
LARGE = 40 * MIB  # three pieces


@pytest.fixture(params=["s3", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """The same promises, whatever the storage."""
    if request.param == "s3":
        return Store.open(request.getfixturevalue("s3").url, patience_s=20)
    if request.param == "file":
        return Store.open(f"file://{tmp_path}/there")
    return Store.open(f"memory://{uuid.uuid4().hex}/there")


def a_file(folder: Path, content: bytes, name: str = "here.bin") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# every storage


def test_what_is_sent_comes_back(store: Store, tmp_path: Path):
    sent = store.put(a_file(tmp_path, b"abc" * 1000), "audio/part-00000.parquet")
    got = store.get("audio/part-00000.parquet", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"abc" * 1000
    assert sent == got == store.entry("audio/part-00000.parquet")


def test_names_are_listed_below_the_folder_with_the_marks_of_put(store: Store, tmp_path: Path):
    path = a_file(tmp_path, b"x")
    sent = {name: store.put(path, name) for name in ("run.yaml", "a/b/c.json", "audio/ä +%.txt")}
    assert store.entries() == sent
    assert set(store.entries("a")) == {"a/b/c.json", "audio/ä +%.txt"}
    assert set(store.entries("a/")) == {"a/b/c.json"}


def test_a_new_content_of_the_same_size_has_a_new_mark(store: Store, tmp_path: Path):
    before = store.put(a_file(tmp_path, b"old"), "name")
    after = store.put(a_file(tmp_path, b"new"), "name")
    assert before.mark != after.mark
    assert store.entries() == {"name": after}


def test_an_empty_file_is_a_file(store: Store, tmp_path: Path):
    store.put(a_file(tmp_path, b""), "empty")
    assert store.get("empty", tmp_path / "back").size == 0
    assert (tmp_path / "back").read_bytes() == b""
    assert store.read("empty", max_bytes=10) == b""


def test_what_is_not_there_is_none_or_told(store: Store, tmp_path: Path):
    assert store.entry("nothing") is None
    assert store.read("nothing", max_bytes=10) is None
    assert store.digest("nothing") is None
    assert store.entries("nothing") == {}
    store.remove("nothing")
    with pytest.raises(StorageError, match="must be there"):
        store.get("nothing", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_only_new_is_written_once(store: Store):
    assert store.write("lease", b"first", only_new=True)
    assert not store.write("lease", b"second", only_new=True)
    assert store.read("lease", max_bytes=10) == b"first"
    assert store.write("lease", b"third")
    assert store.read("lease", max_bytes=10) == b"third"


def test_what_is_larger_than_asked_for_is_refused(store: Store):
    store.write("lease", b"12345")
    with pytest.raises(StorageError, match="at most 4 bytes, got 5"):
        store.read("lease", max_bytes=4)


def test_removed_is_gone(store: Store):
    store.write("a/b", b"1")
    store.remove("a/b")
    assert store.entries() == {}


def test_the_digest_is_that_of_the_content(store: Store, tmp_path: Path):
    from sllm_data.files import sha256_of_file

    path = a_file(tmp_path, b"abc")
    store.put(path, "name")
    assert store.digest("name") == sha256_of_file(path)


def test_no_name_leaves_the_folder(store: Store, tmp_path: Path):
    for name in ("../x", "/etc/x", "a//b", "a/./b", ""):
        with pytest.raises(StorageError, match="relative path"):
            store.put(a_file(tmp_path, b"x"), name)


# URLs


def test_what_is_a_url():
    assert [is_url(t) for t in ("s3://b/x", "memory://a", "file:///a")] == [True] * 3
    assert [is_url(t) for t in ("/a/b", "C:\\x", "c://x", "data", "a:b", "")] == [False] * 6


@pytest.mark.parametrize(
    "url",
    [
        "ftp://bucket/x",
        "s3://",
        "s3:///x",
        "s3://bucket//x",
        "s3://bucket/../x",
        f"s3://key:{SECRET}@bucket/x",
        f"s3://bucket/x?secret={SECRET}",
        f"s3://bucket/x#{SECRET}",
        "/a/b",
    ],
)
def test_a_url_that_names_no_folder_or_holds_a_secret_is_refused(url: str):
    with pytest.raises(ConfigError, match=r"must be|must hold") as caught:
        Store.open(url)
    assert SECRET not in str(caught.value)


def test_a_storage_whose_library_is_missing_is_told():
    with pytest.raises(ConfigError, match=r"pip install 'sllm-data\[gs\]'"):
        Store.open("gs://bucket/x")


# S3


def test_a_large_file_goes_in_pieces_and_comes_back(s3: S3, tmp_path: Path):
    store = Store.open(s3.url)
    path = a_file(tmp_path, os.urandom(LARGE))
    entry = store.put(path, "large")
    assert entry.mark.endswith("-3")
    store.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_pages_of_a_listing_are_put_together(s3: S3):
    for number in range(PAGE + 3):
        s3.client.put_object(Bucket=s3.bucket, Key=f"data/x/{number:04}", Body=b"")
    assert len(Store.open(s3.url).entries()) == PAGE + 3
    assert any("continuation-token" in request for request in s3.proxy.seen)


def test_a_folder_does_not_see_its_neighbours(s3: S3):
    for key in ("data/x", "data-2/y", "z", "data/", "data"):
        s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"")
    assert set(Store.open(s3.url).entries()) == {"x"}
    assert set(Store.open(f"s3://{s3.bucket}").entries()) == {"data/x", "data-2/y", "z", "data"}


def test_a_bucket_that_is_missing_is_told(s3: S3):
    with pytest.raises(StorageError, match="must exist, found: 404 NoSuchBucket"):
        Store.open("s3://no-such-bucket/data")


def test_what_is_denied_is_told_at_once(s3: S3):
    s3.proxy.order("deny", times=1000)
    with pytest.raises(StorageError, match="403 AccessDenied; check the credentials") as caught:
        Store.open(s3.url)
    assert len(s3.proxy.seen) == 1
    assert SECRET not in str(caught.value)


def test_missing_credentials_are_told(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="no credentials"):
        Store.open(s3.url)


def test_refusals_are_waited_out(s3: S3, tmp_path: Path):
    store = Store.open(s3.url)
    path = a_file(tmp_path, os.urandom(LARGE))
    s3.proxy.order("refuse", method="PUT|POST", times=3)
    s3.proxy.order("refuse", method="GET|HEAD", times=3)
    store.put(path, "large")
    store.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    assert set(store.entries()) == {"large"}


def test_a_body_that_is_cut_is_asked_for_again(s3: S3, tmp_path: Path):
    store = Store.open(s3.url)
    path = a_file(tmp_path, os.urandom(LARGE))
    store.put(path, "large")
    s3.proxy.order("cut", method="GET", target="large", times=3)
    store.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_answers_that_are_lost_do_not_matter(s3: S3, tmp_path: Path):
    """Also that to the last request of an upload, whose second try finds no upload."""
    store = Store.open(s3.url)
    path = a_file(tmp_path, os.urandom(LARGE))
    s3.proxy.order("lose", method="POST", target="uploadId", times=1)
    s3.proxy.order("lose", method="PUT", target="lease", times=1)
    store.put(path, "large")
    assert store.write("lease", b"mine", only_new=True)
    assert store.get("large", tmp_path / "back").size == LARGE


def test_a_server_that_does_not_answer_is_left(s3: S3):
    store = Store.open(s3.url, patience_s=1)
    s3.proxy.order("hang", times=1000)
    with pytest.raises(StorageError, match=r"must answer, found: no answer \(\w+\), for 1 s"):
        store.entries()


def test_an_answer_that_is_slow_once_is_asked_for_again(s3: S3):
    store = Store.open(s3.url, patience_s=15)
    store.write("name", b"1")
    s3.proxy.order("hang", method="GET", times=1)
    assert set(store.entries()) == {"name"}


def test_a_storage_that_goes_away_is_told_and_leaves_nothing(
    s3: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    store = Store.open(s3.url, patience_s=2)
    store.put(a_file(tmp_path, b"abc"), "name")
    s3.proxy.is_away = True
    for call in (
        lambda: store.get("name", tmp_path / "back"),
        lambda: store.put(tmp_path / "here.bin", "other"),
    ):
        with pytest.raises(StorageError, match=r"must answer.*run the same command again"):
            call()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.bin"]
    (said,) = [each for each in caplog.messages if "waiting" in each]  # not once for each try
    assert said.startswith(f"{s3.url}/name: waiting for the storage, found: no answer")
    assert said.endswith("it is asked again for 2 s at most")


def test_an_upload_that_breaks_for_good_is_aborted_and_not_seen(s3: S3, tmp_path: Path):
    store = Store.open(s3.url, patience_s=1)
    s3.proxy.order("refuse", method="PUT", target="partNumber=2", times=1000)
    with pytest.raises(StorageError, match="503 SlowDown"):
        store.put(a_file(tmp_path, os.urandom(LARGE)), "large")
    assert store.entries() == {}
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=s3.bucket)


def _send(url: str, path: str) -> None:
    Store.open(url).put(Path(path), "large")


def test_an_upload_that_is_killed_is_not_seen_and_cleared_away_by_the_next(s3: S3, tmp_path: Path):
    path = a_file(tmp_path, os.urandom(LARGE))
    s3.proxy.order("hang", method="PUT", target="partNumber=3")
    process = multiprocessing.get_context("spawn").Process(target=_send, args=(s3.url, str(path)))
    process.start()
    while not any("partNumber=3" in each for each in s3.proxy.seen):
        process.join(0.05)
        assert process.is_alive()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    store = Store.open(s3.url)
    assert store.entries() == {}
    store.put(path, "large")
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=s3.bucket)
    assert set(store.entries()) == {"large"}


def test_an_object_that_is_written_anew_while_it_is_fetched_is_fetched_anew(
    s3: S3, tmp_path: Path
):
    store = Store.open(s3.url)
    old, new = os.urandom(LARGE), os.urandom(LARGE)
    s3.client.put_object(Bucket=s3.bucket, Key="data/large", Body=old)
    s3.proxy.order("refuse", method="GET", target="large", times=10)
    with ThreadPoolExecutor(1) as threads:
        getting = threads.submit(store.get, "large", tmp_path / "back")
        while not any(each.startswith("GET") and "large" in each for each in s3.proxy.seen):
            pass
        s3.client.put_object(Bucket=s3.bucket, Key="data/large", Body=new)
        s3.proxy.faults.clear()
        getting.result()
    assert (tmp_path / "back").read_bytes() == new


def test_who_may_not_list_uploads_may_still_send_large_files(s3: S3, tmp_path: Path):
    store = Store.open(s3.url)
    s3.proxy.order("deny", method="GET", target="uploads", times=10)
    assert store.put(a_file(tmp_path, os.urandom(LARGE)), "large").size == LARGE


def test_a_damaged_object_is_told(s3: S3, tmp_path: Path):
    meta = {"sha256": "0" * 64}
    s3.client.put_object(Bucket=s3.bucket, Key="data/bad", Body=b"abc", Metadata=meta)
    with pytest.raises(StorageError, match="must have the digest"):
        Store.open(s3.url).get("bad", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_threads_share_a_store(s3: S3, tmp_path: Path):
    store = Store.open(s3.url)
    paths = [a_file(tmp_path, os.urandom(1000), f"{n}.bin") for n in range(24)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda path: store.put(path, path.name), paths))
        list(threads.map(lambda p: store.get(p.name, tmp_path / "back" / p.name), paths))
    assert all((tmp_path / "back" / p.name).read_bytes() == p.read_bytes() for p in paths)


def test_processes_that_are_spawned_take_a_store_with_them(s3: S3, tmp_path: Path):
    store = Store.open(s3.url)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        sent = pool.starmap(
            store.put, [(a_file(tmp_path, b"x"), "a"), (tmp_path / "here.bin", "b")]
        )
    assert store.entries() == {"a": sent[0], "b": sent[1]}
    assert pickle.loads(pickle.dumps(store)).url == s3.url  # noqa: S301 - our own


def test_only_one_of_many_writes_what_must_be_new(s3: S3):
    store = Store.open(s3.url)
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda n: store.write("lease", b"%d" % n, only_new=True), range(8)))
    assert won.count(True) == 1
    assert store.read("lease", max_bytes=1) == b"%d" % won.index(True)


@pytest.mark.parametrize("endpoint", [f"http://user:{SECRET}@127.0.0.1:1", "nonsense"])
def test_an_endpoint_with_a_password_is_refused(
    s3: S3, endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL must be") as caught:
        Store.open(s3.url)
    assert SECRET not in str(caught.value)


def test_the_endpoint_for_s3_alone_comes_first(s3: S3, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.proxy.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert Store.open(s3.url, patience_s=1).entries() == {}


@pytest.mark.parametrize("port", [1])
def test_no_error_holds_a_secret(s3: S3, port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StorageError) as caught:
        Store.open(s3.url, patience_s=0.5)
    text = (
        repr(caught.value) + repr(caught.value.__cause__) + str(caught.value.__suppress_context__)
    )
    assert SECRET not in text
    assert "EndpointConnectionError" in text


def test_a_hub_that_nobody_may_ask_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(StorageError, match="HF_HUB_OFFLINE is set"):
        Store.open("hf://datasets/me/speech", patience_s=3600)


def test_a_name_that_has_no_address_is_waited_for(s3: S3, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no-such-host.invalid")
    with pytest.raises(StorageError, match="must answer"):
        Store.open(s3.url, patience_s=0.5)


def test_the_entry_of_a_listing_is_equal_to_that_of_the_object():
    assert Entry(1, "a", "f" * 64) == Entry(1, "a")
