import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from datasets import config as library
from datasets import load_dataset

from tests.corpora.hub_server import COMMIT, hub_with
from tests.corpora.huggingface_folders import (
    LAYOUTS,
    candidates,
    listed,
    make_rows,
    refusal,
    write_audiofolder,
    write_parquet,
)

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by datasets

Speech = Callable[..., bytes]


@pytest.fixture(autouse=True)
def files_are_let_go() -> Iterator[None]:
    yield
    gc.collect()


@pytest.mark.parametrize("streaming", [False, True])
def test_an_id_of_the_hub_that_is_not_cached_is_one_sentence(*, streaming: bool) -> None:
    found = refusal("nobody/nothing-such", streaming=streaming)
    assert found.startswith("nobody/nothing-such: is no folder here, the cache of datasets does n")
    assert "without HF_HUB_OFFLINE" in found


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    assert "must be the folder of a dataset or the id of one" in refusal(tmp_path / "gone")


@pytest.fixture
def cached(tmp_path: Path, speech_bytes: Speech) -> Iterator[str]:
    """Puts a dataset of the hub into the cache as if it had been prepared while online."""
    folder = write_parquet(tmp_path / "d", {"train": make_rows(speech_bytes, 3)}, files=1)
    own = tmp_path / "cache"
    load_dataset(str(folder), cache_dir=str(own))
    (prepared,) = own.glob("d/*/0.0.0/*/")
    place = Path(library.HF_DATASETS_CACHE, "someone___talks")
    shutil.copytree(prepared, place / "default" / "0.0.0" / COMMIT)
    info = place / "default" / "0.0.0" / COMMIT / "dataset_info.json"
    document = json.loads(info.read_text())
    info.write_text(json.dumps(document | {"config_name": "default", "dataset_name": "talks"}))
    for arrow in info.parent.glob("*.arrow"):
        arrow.rename(arrow.with_name(arrow.name.replace("d-", "talks-", 1)))
    yield "someone/talks"
    shutil.rmtree(place)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_of_the_hub_is_read_from_the_cache(cached: str, *, streaming: bool) -> None:
    rows = candidates(cached, streaming=streaming, revision=COMMIT)
    assert [row.audio_id for row in rows] == [
        f"someone--talks/{COMMIT}/train/00000000{k}" for k in range(3)
    ]
    assert rows[0].source.attribution == "someone/talks"


def test_another_revision_than_the_cached_one_is_refused(cached: str) -> None:
    found = refusal(cached, revision=COMMIT[::-1])
    assert f"the cache holds the revision {COMMIT}, not {COMMIT[::-1]}" in found


def test_folders_of_audio_with_many_tables_need_ids(tmp_path: Path, speech_bytes: Speech) -> None:
    for k, name in enumerate(("a", "b", "c")):
        rows = [row | {"key": f"{name}-{k}"} for k, row in enumerate(make_rows(speech_bytes, 2))]
        write_audiofolder(tmp_path / "d" / "train" / name, {"x": rows})
        assert k >= 0
    assert "has 3 metadata files, which datasets reads in no fixed order" in refusal(
        tmp_path / "d"
    )
    keyed = {"columns": {"id": "key"}}
    assert "no fixed order" in refusal(tmp_path / "d", streaming=True, **keyed)
    assert len(listed(tmp_path / "d", **keyed)) == 6


# another process, since the library reads where the hub is when it is imported
OPEN_ALL = """
import hashlib, json, sys
from pathlib import Path
from sllm_data.corpora.config import Bounds
from sllm_data.corpora.opening import Opened, open_candidates
from tests.corpora.huggingface_folders import candidates, config

corpus = config("someone/talks", streaming=json.loads(sys.argv[1]))
listed = candidates("someone/talks", streaming=corpus.streaming)
opened = open_candidates(listed, corpora=[corpus] * 2, bounds=Bounds(), scratch=Path(sys.argv[2]))
for row, found in zip(listed, opened, strict=True):
    assert isinstance(found, Opened), found
    print(row.transcript, hashlib.sha256(found.content).hexdigest(), sep="\\t")
"""


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", ["parquet", "audiofolder csv"])
def test_a_dataset_of_the_hub_is_read_from_there(
    tmp_path: Path, speech_bytes: Speech, layout: str, *, streaming: bool
) -> None:
    rows = make_rows(speech_bytes, 6)
    folder = LAYOUTS[layout](tmp_path / "talks", {"train": rows[:4], "test": rows[4:]})
    with hub_with("someone/talks", folder) as (endpoint, asked):
        found = subprocess.run(
            [sys.executable, "-c", OPEN_ALL, json.dumps(streaming), str(tmp_path)],
            env=os.environ
            | {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
            | {"HF_DATASETS_CACHE": str(tmp_path / "home" / "datasets")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert found.returncode == 0, found.stderr
    assert sorted(found.stdout.splitlines()) == sorted(
        f"{row['text']}\t{hashlib.sha256(row['audio']['bytes']).hexdigest()}" for row in rows
    )
    assert any(COMMIT in line for line in asked)
    assert bool(list(tmp_path.glob("home/**/*.arrow"))) is not streaming
