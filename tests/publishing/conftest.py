"""A small finished dataset, and where it may go."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer
from publish_command import Command, Published, environment_of, publish
from steps_datasets import build

from sllm_data.config import RunConfig, resolve
from sllm_data.testbed import write_librispeech


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "LibriSpeech"
    write_librispeech(
        folder, subsets={"train-clean-a": 16, "dev-clean-a": 4}, num_speakers=2, seed=3
    )
    return folder


@pytest.fixture(scope="session")
def configured(corpus: Path) -> Callable[..., RunConfig]:
    def make(output: Path, **fields: Any) -> RunConfig:
        source = {"kind": "librispeech", "path": str(corpus), "limit": 14}
        document = {
            "seed": 1,
            "output": str(output),
            "part_size": 4,
            "corpora": [source | {"licence": fields.pop("licence", "CC-BY-4.0")}],
            "backbone": {"engine": "scripted"},
            "filters": {"wrong_language": False, "copied": False},
            "runner": {"kind": "serial"},
            "max_rejected_fraction": 1.0,
        }
        document["corpora"][0] |= fields.pop("corpus", {})
        return resolve(document | fields, where="test")

    return make


@pytest.fixture(scope="session")
def made(configured: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "dataset"
    build(configured(root))
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports/report.html").write_text("<p>/a/path/of/this/machine</p>")
    (root / "notes.txt").write_text("mine")
    return root


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer()
    yield server
    server.close()


@pytest.fixture
def environment(hub: HubServer, tmp_path: Path) -> dict[str, str]:
    return environment_of(hub, tmp_path / "hf")


@pytest.fixture(name="publish")
def _publish() -> Command:
    return publish


@pytest.fixture(scope="module")
def published(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """The dataset on a hub of its own."""
    server = HubServer()
    environment = environment_of(server, tmp_path_factory.mktemp("hf"))
    done = publish(made, "hf://datasets/me/speech", "--message", "First release", env=environment)
    assert done.returncode == 0, done.stderr
    yield Published(server, environment)
    server.close()
