"""A real Postgres for tests: its own folder, its own port, a password, and gone at the end."""

import asyncio
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from tests.ports import free_port

_USER = "nobody"  # Postgres refuses to run as root
_START_S = 120


def find_program(name: str) -> str | None:
    """A program of Postgres, on the path or where Debian puts it."""
    found = shutil.which(name)
    folders = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return found or next(map(str, folders), None)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields the URL of the database `prefect`, for the user of that name."""
    initdb, postgres = find_program("initdb"), find_program("postgres")
    assert initdb, "the caller skips where it is not there"
    assert postgres
    identity = {}
    folder = Path(tempfile.mkdtemp(prefix="sllm-postgres-"))
    if os.getuid() == 0:
        account = pwd.getpwnam(_USER)
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        os.chown(folder, account.pw_uid, account.pw_gid)
    password, port = secrets.token_hex(8), free_port()
    secret = folder / "password"
    secret.write_text(password)
    data = folder / "data"
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    server = None
    try:
        subprocess.run(
            [initdb, "-D", data, "-U", "prefect", "-A", "scram-sha-256", f"--pwfile={secret}"],
            check=True,
            capture_output=True,
            cwd=folder,
            env=environment,
            **identity,
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [postgres, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment,
                **identity,
            )
        at = f"prefect:{password}@127.0.0.1:{port}"
        asyncio.run(_create(f"postgresql://{at}/postgres"))
        yield f"postgresql+asyncpg://{at}/prefect"
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        shutil.rmtree(folder)


async def _create(url: str) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            connection = await asyncpg.connect(url)
            break
        except (OSError, asyncpg.CannotConnectNowError):
            assert time.monotonic() < until, "Postgres does not start"
            await asyncio.sleep(0.2)
    await connection.execute("CREATE DATABASE prefect")
    await connection.close()
