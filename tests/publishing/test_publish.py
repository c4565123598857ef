"""publish: to the hub, to S3, to a folder; refused, killed, repeated, loaded back."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import TOKEN, Blob, HubServer, Repo
from publish_command import PROGRAM, Command, Published
from s3_server import S3, SECRET
from steps_datasets import build

from sllm_data.config import RunConfig
from sllm_data.errors import ConfigError, OutputError
from sllm_data.files import output_lock, sha256_of_bytes
from sllm_data.publishing import Options, publish
from sllm_data.publishing.contents import LAST, contents_of
from sllm_data.publishing.hub import HubTarget
from sllm_data.steps import Progress
from sllm_data.storage.places import local_copy
from sllm_data.storage.store import Store
from sllm_data.validation.opening import Options as Validation
from sllm_data.validation.runner import validate

REPO = "hf://datasets/me/speech"
SILENT = Progress(None)


def digests(root: Path) -> dict[str, str]:
    return {item.name: item.sha256 for item in contents_of(root).items}


def sent_to(root: Path, place: object, **options: object):
    return publish(root, str(place), Options(jobs=1, **options), progress=SILENT)


# a folder


def test_a_folder_gets_what_belongs_to_the_dataset_and_nothing_else(made: Path, tmp_path: Path):
    found = sent_to(made, tmp_path / "there")
    names = {
        path.relative_to(tmp_path / "there").as_posix()
        for path in (tmp_path / "there").rglob("*")
        if path.is_file()
    }
    assert names >= {"run.yaml", "README.md", "croissant.json", "samples/part-00000.parquet", LAST}
    assert names == set(digests(made))
    assert digests(tmp_path / "there") == digests(made)
    assert set(found.left_out) == {
        "in no manifest",
        "made from the dataset, and may name paths of this machine",
        "of runs on this machine",
    }
    assert found.left_out["in no manifest"] == ("notes.txt",)


def test_what_was_published_is_valid(made: Path, tmp_path: Path):
    sent_to(made, tmp_path / "there")
    assert validate(tmp_path / "there", Validation(level=2, jobs=1)).passed


@pytest.mark.parametrize("place", ["{}", "{}/there", "file://{}", "file://{}/there"])
def test_a_dataset_is_never_its_own_target(dataset: Path, place: str):
    before = sorted(dataset.rglob("*"))
    with pytest.raises(ConfigError, match="must be a folder apart from the dataset"):
        sent_to(dataset, place.format(dataset))
    assert sorted(dataset.rglob("*")) == before


def test_nor_is_the_storage_that_it_was_fetched_from(
    monkeypatch: pytest.MonkeyPatch, dataset: Path
):
    monkeypatch.setenv("SLLM_COPIES", str(dataset.parent / "copies"))
    fetched = local_copy("s3://bucket/speech")
    fetched.parent.mkdir(parents=True)
    dataset.rename(fetched)
    for place in ("s3://bucket/speech/", "s3://bucket/speech/there", "s3://bucket"):
        with pytest.raises(ConfigError, match="must be a folder apart from the dataset"):
            sent_to(fetched, place)


def test_a_second_publish_sends_nothing(made: Path, tmp_path: Path):
    first = sent_to(made, tmp_path / "there")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "there").rglob("*") if p.is_file()}
    second = sent_to(made, tmp_path / "there")
    assert (second.sent, second.kept) == (0, first.sent)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_damage_at_the_target_is_repaired(made: Path, tmp_path: Path):
    there = tmp_path / "there"
    sent_to(made, there)
    part = there / "samples/part-00000.parquet"
    part.write_bytes(bytes(len(part.read_bytes())))
    found = sent_to(made, there)
    # the manifests went before the part was replaced, and came back
    manifests = {name for name in digests(made) if name.startswith("manifest/")}
    assert found.sent == 1 + len(manifests)
    assert digests(there) == digests(made)


def test_a_dataset_that_has_grown_is_published_over_itself(
    configured: Callable[..., RunConfig], tmp_path: Path
):
    root, there = tmp_path / "dataset", tmp_path / "there"
    build(configured(root))
    sent_to(root, there)
    (there / "samples/part-00099.parquet").write_bytes(b"of an older state")
    build(configured(root, corpus={"limit": 20}), extend=True)
    found = sent_to(root, there)
    assert found.removed == 1
    assert found.kept > 0
    assert digests(there) == digests(root)


def test_an_older_state_does_not_go_over_a_newer_one(
    configured: Callable[..., RunConfig], tmp_path: Path
):
    root, there = tmp_path / "dataset", tmp_path / "there"
    build(configured(root))
    shutil.copytree(root, tmp_path / "backup")
    build(configured(root, corpus={"limit": 20}), extend=True)
    sent_to(root, there)
    with pytest.raises(OutputError, match="found one that was extended further"):
        sent_to(tmp_path / "backup", there)
    assert digests(there) == digests(root)


def test_a_salt_is_written_nowhere_and_the_dataset_still_known_by_it(
    configured: Callable[..., RunConfig], tmp_path: Path
):
    root, there = tmp_path / "dataset", tmp_path / "there"
    build(configured(root, speaker_salt="nobody may know"))
    sent_to(root, there)
    for path in (*root.rglob("*"), *there.rglob("*")):
        assert path.is_dir() or b"nobody may know" not in path.read_bytes()
    assert all(r.was_done for r in build(configured(root, speaker_salt="nobody may know")))
    assert validate(there, Validation(level=2, jobs=1)).passed
    assert sent_to(root, there).sent == 0
    build(configured(tmp_path / "other", speaker_salt="another"))
    with pytest.raises(OutputError, match="that of another configuration"):
        sent_to(tmp_path / "other", there)


def test_a_target_may_lie_above(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    sent_to(made, "../there")
    assert (tmp_path / "there/run.yaml").exists()


def test_files_of_somebody_else_are_left_alone(made: Path, tmp_path: Path, publish: Command):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/thesis.txt").write_text("years of work")
    done = publish(made, tmp_path / "there")
    assert done.returncode == 2
    assert "must be empty or hold an earlier publish of this dataset" in done.stderr
    assert "thesis.txt" in done.stderr
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["thesis.txt"]


def test_another_dataset_is_left_alone(
    made: Path, configured: Callable[..., RunConfig], tmp_path: Path, publish: Command
):
    other = tmp_path / "other"
    build(configured(other, seed=2))
    sent_to(other, tmp_path / "there")
    done = publish(made, tmp_path / "there")
    assert (done.returncode, "that of another configuration" in done.stderr) == (2, True)
    assert digests(tmp_path / "there") == digests(other)


def test_a_target_inside_of_the_dataset_is_refused(made: Path, publish: Command):
    done = publish(made, made / "copy")
    assert (done.returncode, "a folder apart" in done.stderr) == (2, True)


# what is not fit


def test_a_dataset_with_findings_is_refused_with_the_command_that_shows_them(
    dataset: Path, tmp_path: Path, publish: Command
):
    (dataset / "samples/part-00000.parquet").write_bytes(b"nothing")
    done = publish(dataset, tmp_path / "there")
    assert done.returncode == 1
    assert f"see them with `sllm-data validate {dataset} --level 1`" in done.stderr
    assert not (tmp_path / "there").exists()


def test_a_dataset_that_is_being_written_is_refused(
    dataset: Path, tmp_path: Path, publish: Command
):
    with output_lock(dataset):
        done = publish(dataset, tmp_path / "there")
    assert (done.returncode, "another run is writing this folder" in done.stderr) == (2, True)


def test_a_dataset_that_is_not_finished_is_refused(
    dataset: Path, tmp_path: Path, publish: Command
):
    (dataset / LAST).unlink()
    done = publish(dataset, tmp_path / "there")
    assert (done.returncode, "must be finished" in done.stderr) == (2, True)


def test_a_folder_that_is_no_dataset_is_refused_and_left_alone(tmp_path: Path, publish: Command):
    (tmp_path / "empty").mkdir()
    done = publish(tmp_path / "empty", tmp_path / "there")
    assert (done.returncode, "must be a dataset" in done.stderr) == (2, True)
    assert not any((tmp_path / "empty").iterdir())


@pytest.mark.parametrize(
    "target", ["hf://me/speech", "hf://datasets/speech", "ftp://a/b", "s3://"]
)
def test_a_target_that_is_none_is_refused(made: Path, publish: Command, target: str):
    done = publish(made, target)
    assert (done.returncode, "must be" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "target", ["hf://me:{}@datasets/me/x", "hf://datasets/me/x?token={}", "hf://datasets/me/x#{}"]
)
def test_a_credential_in_the_url_of_a_repository_is_refused_without_showing_it(target: str):
    mark = "hf_of_the_user"
    with pytest.raises(ConfigError, match="got one with other parts") as caught:
        HubTarget(target.format(mark), private=True, revision="main", message="m", patience_s=1)
    assert mark not in str(caught.value)


# S3


_LOAD = """
import os, sys, datasets
endpoint = {"client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}}
files = f"{sys.argv[1]}/samples/part-*.parquet"
kind = {"data_files": files, "split": "train", "storage_options": endpoint}
loaded = datasets.load_dataset("parquet", **kind)
print(loaded.num_rows)
"""


def num_samples(root: Path) -> int:
    parts = json.loads((root / LAST).read_text())["parts"]
    return sum(part["rows"] for part in parts if part["file"].startswith("samples/"))


def test_s3_gets_it_and_datasets_loads_it_from_there(
    made: Path, s3: S3, environment: dict[str, str]
):
    sent_to(made, s3.url)
    program = [sys.executable, "-c", _LOAD, s3.url]
    loaded = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert loaded.stdout.split() == [str(num_samples(made))], loaded.stderr


def test_a_copy_back_from_s3_is_the_dataset(made: Path, s3: S3, tmp_path: Path):
    sent_to(made, s3.url)
    store = Store.open(s3.url)
    for name in store.entries():
        store.get(name, tmp_path / "back" / name)
    assert digests(tmp_path / "back") == digests(made)
    assert validate(tmp_path / "back", Validation(level=1, jobs=1)).passed


def test_manifests_come_after_all_parts(made: Path, s3: S3):
    sent_to(made, s3.url)
    puts = [each.split("/data/")[1] for each in s3.proxy.seen if each.startswith("PUT")]
    first_manifest = next(n for n, name in enumerate(puts) if name.startswith("manifest/"))
    assert puts[0].startswith("run.yaml")
    assert puts[-1].startswith(LAST)
    assert all(name.startswith("manifest/") for name in puts[first_manifest:])
    assert any(name.endswith(".parquet") for name in puts[:first_manifest])


def test_a_publish_to_s3_that_is_killed_goes_on(made: Path, s3: S3, publish: Command):
    s3.proxy.order("hang", method="PUT", target="responses/main/part-00001", times=100)
    program = [PROGRAM, "publish", "--jobs", "1", str(made), s3.url]
    with subprocess.Popen(
        program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not any("responses/main/part-00001" in each for each in s3.proxy.seen):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    store = Store.open(s3.url)
    before = set(store.entries())
    assert "run.yaml" in before
    assert not [name for name in before if name.startswith("manifest/")]
    s3.proxy.faults.clear()
    s3.proxy.seen.clear()
    done = publish(made, s3.url, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == len(before)
    assert {name: store.digest(name) for name in store.entries()} == digests(made)


def test_faults_of_the_storage_on_the_way_do_not_matter(made: Path, s3: S3):
    for kind, method in (("refuse", "PUT"), ("lose", "PUT"), ("cut", "GET"), ("refuse", "HEAD")):
        s3.proxy.order(kind, method=method, times=3)
    sent_to(made, s3.url)
    store = Store.open(s3.url)
    assert {name: store.digest(name) for name in store.entries()} == digests(made)


def test_no_secret_is_in_what_is_said(made: Path, s3: S3, publish: Command):
    s3.proxy.order("deny", times=1000)
    done = publish(made, s3.url)
    assert done.returncode == 2
    assert "403 AccessDenied" in done.stderr
    assert SECRET not in done.stderr + done.stdout


# the hub


def test_the_hub_has_the_dataset_byte_for_byte_and_private(made: Path, published: Published):
    repo = published.hub.repos["me/speech"]
    assert repo.private
    assert set(repo.commits) == {"First release"}
    found = published.hub.files("me/speech")
    found.pop(".gitattributes")
    assert {name: sha256_of_bytes(content) for name, content in found.items()} == digests(made)


def test_datasets_loads_it_from_the_hub(made: Path, published: Published):
    code = "import datasets as d; print(d.load_dataset('me/speech', split='train').num_rows)"
    program = [sys.executable, "-c", code]
    env = published.environment
    loaded = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    assert loaded.stdout.split() == [str(num_samples(made))], loaded.stderr


def test_a_second_publish_to_the_hub_only_takes_away_what_is_gone(
    made: Path, published: Published, publish: Command
):
    repo = published.hub.repos["me/speech"]
    repo.branches["main"]["samples/old.parquet"] = Blob(b"old", is_lfs=True)
    before = len(repo.commits)
    done = publish(made, REPO, "--json", env=published.environment)
    counts = json.loads(done.stdout)
    assert (counts["sent"], counts["removed"]) == (0, 1)
    assert "samples/old.parquet" not in published.hub.files("me/speech")
    publish(made, REPO, env=published.environment)
    assert len(repo.commits) == before + 1


def test_a_repository_that_is_private_is_not_made_public_in_passing(
    made: Path, published: Published, publish: Command
):
    done = publish(made, REPO, "--public", env=published.environment)
    assert (done.returncode, "say --private" in done.stderr) == (2, True)
    assert published.hub.repos["me/speech"].private


def test_a_publish_to_the_hub_that_is_killed_goes_on(
    made: Path, hub: HubServer, environment: dict[str, str], publish: Command
):
    hub.hang_after_uploads = 5
    program = [PROGRAM, "publish", "--jobs", "1", str(made), REPO]
    with subprocess.Popen(
        program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not hub.hanging.wait(0.05):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    shown = set(hub.files("me/speech"))
    assert shown == {".gitattributes", "run.yaml"}
    hub.hang_after_uploads = None
    arrived = set(hub.lfs)
    hub.seen.clear()
    assert publish(made, REPO, env=environment).returncode == 0
    assert arrived
    assert not arrived & {each.removeprefix("PUT /lfs/") for each in hub.seen}
    assert set(hub.files("me/speech")) - {".gitattributes"} == set(digests(made))


def test_a_branch_of_its_own_leaves_main_alone(
    made: Path, hub: HubServer, environment: dict[str, str], publish: Command
):
    done = publish(made, REPO, "--revision", "v1", env=environment)
    assert done.returncode == 0, done.stderr
    assert set(hub.files("me/speech")) == {".gitattributes"}
    assert LAST in hub.files("me/speech", "v1")


@pytest.mark.parametrize("licence", ["ask the owner", "CC-BY-NC-ND-4.0"])
def test_a_licence_that_forbids_or_is_unknown_needs_a_yes_to_be_made_public(
    licence: str,
    configured: Callable[..., RunConfig],
    hub: HubServer,
    environment: dict[str, str],
    publish: Command,
    tmp_path: Path,
):
    build(configured(tmp_path / "dataset", licence=licence))
    done = publish(tmp_path / "dataset", REPO, "--public", env=environment)
    assert (done.returncode, "add --yes" in done.stderr) == (2, True)
    assert not hub.repos
    done = publish(tmp_path / "dataset", REPO, "--public", "--yes", env=environment)
    assert done.returncode == 0, done.stderr
    assert not hub.repos["me/speech"].private
    done = publish(tmp_path / "dataset", REPO, env=environment)  # private, and it is not
    assert (done.returncode, "say --public" in done.stderr) == (2, True)


def test_a_hub_that_is_busy_is_waited_for(
    made: Path, hub: HubServer, environment: dict[str, str], publish: Command
):
    hub.refuse, hub.drop = 4, 4
    done = publish(made, REPO, env=environment)
    assert done.returncode == 0, done.stderr


_STORE = """
import sys
from pathlib import Path
from sllm_data.storage.places import local_copy
from sllm_data.storage.store import Store

store = Store.open("hf://datasets/me/speech/folder", patience_s=20)
file = Path(sys.argv[1])
sent = store.put(file, "a/part.parquet")
assert store.entries() == {"a/part.parquet": sent}
assert store.entry("a/part.parquet") == sent
assert store.get("a/part.parquet", file.with_name("back")).sha256 == store.digest("a/part.parquet")
assert file.with_name("back").read_bytes() == file.read_bytes()
assert store.write("lease", b"1", only_new=True) and not store.write("lease", b"2", only_new=True)
store.remove("lease")
store.remove("lease")
assert store.read("lease", max_bytes=1) is None
"""


def test_a_store_keeps_its_promises_on_the_hub(
    hub: HubServer, environment: dict[str, str], tmp_path: Path
):
    hub.repos["me/speech"] = Repo(private=True)
    hub.drop = 2
    (tmp_path / "here").write_bytes(b"abc" * 1000)
    program = [sys.executable, "-c", _STORE, str(tmp_path / "here")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_hub_that_refuses_is_told_without_the_token(
    made: Path, hub: HubServer, environment: dict[str, str], publish: Command
):
    hub.deny = True
    done = publish(made, REPO, env=environment)
    assert done.returncode == 2
    assert "403" in done.stderr
    assert "check the token" in done.stderr
    assert TOKEN not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_without_a_token_nothing_is_asked(
    made: Path, hub: HubServer, environment: dict[str, str], publish: Command
):
    done = publish(made, REPO, env={k: v for k, v in environment.items() if k != "HF_TOKEN"})
    assert (done.returncode, "a token must be there" in done.stderr) == (2, True)
    assert not hub.seen
