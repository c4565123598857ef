"""A folder of the hub as input: fetched by the same code as from any other storage."""

import subprocess
import sys
from pathlib import Path

from hub_server import Blob, HubServer, Repo

FETCH = """
import sys
from sllm_data.steps import Progress
from sllm_data.steps.stored import fetch
from sllm_data.storage.places import local_copy

place = local_copy(sys.argv[1])
fetch(place, Progress(None))
print(place)
"""
FOLDER = {
    "corpus/train.jsonl": b'{"audio": "clips/a.flac"}\n',
    "corpus/clips/a.flac": b"fLaC" + bytes(100_000),
}


def fetched(url: str, environment: dict[str, str]) -> dict[str, bytes]:
    program = [sys.executable, "-c", FETCH, url]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    place = Path(done.stdout.strip())
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_a_folder_of_the_hub_is_fetched_and_what_changed_there_again(
    hub: HubServer, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["SLLM_COPIES"] = str(tmp_path / "copies")
    files = {name: Blob(content, is_lfs=".flac" in name) for name, content in FOLDER.items()}
    hub.repos["me/speech"] = Repo(private=False)
    hub.repos["me/speech"].branches["main"] = files | {"README.md": Blob(b"#", is_lfs=False)}
    url = "hf://datasets/me/speech/corpus"

    assert fetched(url, environment) == {
        "train.jsonl": FOLDER["corpus/train.jsonl"],
        "clips/a.flac": FOLDER["corpus/clips/a.flac"],
    }

    again = b'{"audio": "clips/b.flac"}\n'  # as many bytes
    hub.repos["me/speech"].branches["main"]["corpus/train.jsonl"] = Blob(again, is_lfs=False)
    del hub.seen[:]
    assert fetched(url, environment)["train.jsonl"] == again
    assert not [line for line in hub.seen if "/resolve/" in line and "a.flac" in line]
