"""The program that a user runs, and what tests say of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hub_server import TOKEN, HubServer

PROGRAM = str(Path(sys.executable).with_name("sllm-data"))
Command = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Published:
    """A hub to which a dataset was published, and the environment of its user."""

    hub: HubServer
    environment: dict[str, str]


def environment_of(hub: HubServer, folder: Path) -> dict[str, str]:
    """That of a user who is logged in."""
    return os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder),
        "HF_DATASETS_CACHE": str(folder / "datasets"),
    }


def publish(
    *arguments: object, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `sllm-data publish` as a user does."""
    program = [PROGRAM, "publish", "--jobs", "1", *map(str, arguments)]
    return subprocess.run(program, env=env, capture_output=True, text=True, check=False)
