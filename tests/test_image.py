"""The image and its compose file, as far as they can be tried without an engine to build them.

hadolint reads the Dockerfile, every path that it copies is there, and what it and the compose
file run is run here: in this environment, which the image builds by the same command.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import prefect.settings
import pytest
import yaml
from packaging.requirements import Requirement

from sllm_data.storage.places import COPIES
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SECRET = re.compile("PASSWORD|SECRET|TOKEN|CREDENTIAL|(?:^|_)KEY", re.IGNORECASE)
HARMLESS = "TOKENIZERS_PARALLELISM"
HOME = Path("/var/lib/sllm-data")
_PATIENCE_S = 240


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    word: str
    rest: str


def instructions() -> list[Instruction]:
    """The Dockerfile without comments, each instruction as one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        Instruction(word=word, rest=rest)
        for word, rest in re.findall(r"^([A-Z]+) (.+)$", whole, re.MULTILINE)
    ]


def copied() -> list[str]:
    """What is copied from the project, not from another stage."""
    found = []
    for each in instructions():
        if each.word == "COPY" and not each.rest.startswith("--from="):
            found += each.rest.split()[:-1]
    return found


def commands() -> list[str]:
    """What the RUN instructions run, one by one."""
    return [
        command.strip()
        for each in instructions()
        if each.word == "RUN"
        for command in re.split("&&|;", each.rest)
    ]


def made_for_the_user() -> set[str]:
    """Folders that the image makes and gives to its user."""
    make = "install -d -o sllm -g sllm "
    made = [each.removeprefix(make).split() for each in commands() if each.startswith(make)]
    return {path for paths in made for path in paths}


def the_last(word: str) -> str:
    return [each.rest for each in instructions() if each.word == word][-1]


def health_command() -> list[str]:
    command: list[str] = json.loads(the_last("HEALTHCHECK").split("CMD ", 1)[1])
    return command


def run(command: list[str], *, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    program = BIN / command[0]
    return subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False, timeout=timeout_s
    )


def test_hadolint_finds_nothing():
    done = run(["hadolint", "--no-color", str(DOCKERFILE)])
    assert (done.returncode, done.stdout) == (0, "")


def test_every_path_that_is_copied_is_there_and_tracked():
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("no git checkout")
    files = tracked.stdout.splitlines()
    assert copied()
    for path in copied():
        assert any(file == path or file.startswith(f"{path}/") for file in files), path


def test_the_builder_gets_what_is_copied_and_nothing_else():
    first, *lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert first == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())
    again = [line.removeprefix("**/") for line in lines if not line.startswith("!")]
    assert not any(fnmatch(Path(path).name, pattern) for path in copied() for pattern in again)


def test_the_environment_is_built_by_the_set_up_of_the_project():
    (built,) = [
        each.rest for each in instructions() if ".ci/setup" in each.rest and each.word == "RUN"
    ]
    assert 'ACCEL="$ACCEL" .ci/setup' in built
    setup = (ROOT / ".ci/setup").read_text()
    assert "pins=.ci/pins-$accel.txt" in setup
    assert {".ci/setup", ".ci/pins-cpu.txt", ".ci/pins-gpu.txt", "pyproject.toml"} <= set(copied())


def test_bases_are_pinned_by_tag_and_cuda_is_that_of_the_pins():
    bases = [each.rest.split()[0] for each in instructions() if each.word == "FROM"]
    outer = [base for base in bases if ":" in base]
    assert outer
    assert all(not base.endswith(":latest") for base in outer)
    assert set(bases) - set(outer) <= {"base", "base-${ACCEL}"}
    (cuda,) = [base.split(":")[1] for base in outer if base.startswith("nvidia/cuda:")]
    pins = [Requirement(line) for line in (ROOT / ".ci/pins-gpu.txt").read_text().splitlines()]
    (toolkit,) = [
        next(iter(each.specifier)).version for each in pins if each.name == "cuda-toolkit"
    ]
    assert cuda.split(".")[:2] == toolkit.split(".")[:2]


def test_the_user_is_a_number_and_not_root():
    assert the_last("USER") == "10001:10001"
    assert [each for each in commands() if each.startswith("useradd --uid 10001 --user-group ")]
    after = [each.word for each in instructions()]
    assert "RUN" not in after[after.index("USER") :]


def test_nothing_of_the_code_is_given_to_the_user():
    copies = [each.rest for each in instructions() if each.word in ("ADD", "COPY")]
    assert copies
    assert not [rest for rest in copies if "--chown" in rest or "--chmod" in rest]
    assert not [each for each in commands() if re.match("(chown|chmod) ", each)]
    assert not [path for path in made_for_the_user() if path.startswith("/opt")]


def test_a_volume_of_the_image_is_a_folder_that_it_has_for_its_user():
    of_services = [
        volume
        for each in SERVICES.values()
        if each["image"].startswith("sllm-data:")
        for volume in each.get("volumes", [])
        if isinstance(volume, str)
    ]
    page = (ROOT / "docs/deployment.md").read_text()
    assert of_services
    for volume in [*of_services, *re.findall(r"--volume (\S+)", page)]:
        name, _, target = volume.partition(":")
        assert re.fullmatch(r"[a-z][a-z-]*", name), volume
        inside = [each for each in (Path(target), *Path(target).parents) if HOME in each.parents]
        assert inside, volume
        assert {str(each) for each in inside} <= made_for_the_user(), volume


def test_a_file_or_folder_of_the_host_that_is_missing_is_not_made():
    bound = [
        volume
        for each in SERVICES.values()
        for volume in each.get("volumes", [])
        if not isinstance(volume, str)
    ]
    assert {each["target"] for each in bound} == {
        "/opt/sllm-data/run.yaml",
        "/opt/sllm-data/train.yaml",
        "/data",
        "/out",
    }
    for each in bound:
        assert (each["type"], each["bind"]) == ("bind", {"create_host_path": False}), each
        assert each.get("read_only", False) is (each["target"] != "/out"), each


def test_files_of_flows_are_where_their_deployments_look_for_them():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    named = {each["parameters"].get("config_path") for each in deployments} - {None}
    workdir = the_last("WORKDIR")
    for name in ("worker-cpu", "worker-gpu"):
        targets = {
            each["target"] for each in SERVICES[name]["volumes"] if not isinstance(each, str)
        }
        assert {f"{workdir}/{file}" for file in named} <= targets, name


def test_only_workers_get_the_file_of_secrets_and_both_share_the_copies():
    given = {"path": "${SLLM_ENV:-./worker.env}", "required": False}
    for name in ("worker-cpu", "worker-gpu"):
        assert SERVICES[name]["env_file"] == [given]
        copies = SERVICES[name]["environment"][COPIES]
        assert f"copies:{copies}" in SERVICES[name]["volumes"]
    assert [name for name, each in SERVICES.items() if "env_file" in each] == [
        "worker-cpu",
        "worker-gpu",
    ]
    assert "worker.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_neither_file_holds_a_secret():
    for each in instructions():
        if each.word in ("ARG", "ENV"):
            names = re.findall(r"(\w+)(?==|$)", each.rest)
            assert not [name for name in names if SECRET.search(name) and name != HARMLESS]
    passwords = 0
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                passwords += 1
                assert re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", value), (name, variable)
    assert passwords == 2
    assert "@postgres" not in (ROOT / "docker-compose.yaml").read_text()


def test_the_health_check_of_the_image_is_good_here(tmp_path):
    command = [str(tmp_path) if part == "/out" else part for part in health_command()]
    done = run(command)
    assert done.returncode == 0, done.stdout


def test_the_health_check_of_the_image_fails_where_the_output_can_not_be_written(tmp_path):
    (tmp_path / "out").write_text("a file, no folder")
    command = [str(tmp_path / "out") if part == "/out" else part for part in health_command()]
    assert run(command).returncode == 1


def test_what_the_image_runs_unless_told_otherwise_exists():
    program, command, *options = json.loads(the_last("CMD"))
    shown = run([program, command, "--help"])
    assert shown.returncode == 0
    assert all(option in shown.stdout for option in options if option.startswith("--"))


def test_every_image_of_the_services_is_pinned():
    for name, service in SERVICES.items():
        tag = service["image"].partition(":")[2]
        assert tag, name
        assert tag != "latest", name


def test_only_this_machine_reaches_a_service():
    ports = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert ports == {"server": ["127.0.0.1:4200:4200"]}
    assert COMPOSE["networks"]["database"] == {"internal": True}
    assert [name for name, each in SERVICES.items() if "database" in each["networks"]] == [
        "postgres",
        "server",
    ]


def test_the_database_and_its_user_are_one_on_both_sides():
    database, server = SERVICES["postgres"]["environment"], SERVICES["server"]["environment"]
    for theirs, ours in (("DB", "NAME"), ("USER", "USER"), ("PASSWORD", "PASSWORD")):
        assert database[f"POSTGRES_{theirs}"] == server[f"PREFECT_SERVER_DATABASE_{ours}"]
    assert database["POSTGRES_DB"] == database["POSTGRES_USER"] == "prefect"


def test_every_setting_of_prefect_that_is_named_exists():
    known = set(prefect.settings.get_current_settings().to_environment_variables())
    known |= set(prefect.settings.legacy._get_valid_setting_names(prefect.settings.Settings))
    texts = DOCKERFILE.read_text() + (ROOT / "docker-compose.yaml").read_text()
    assert set(re.findall(r"\b(PREFECT_\w+)\b", texts)) <= known


def test_every_service_has_a_health_check_and_comes_up_after_what_it_needs():
    assert all(each["healthcheck"]["test"][0] == "CMD" for each in SERVICES.values())
    for name in ("server", "worker-cpu", "worker-gpu"):
        needs = SERVICES[name]["depends_on"].values()
        assert [each["condition"] for each in needs] == ["service_healthy"], name


def test_there_is_a_worker_for_each_pool_and_the_gpu_is_asked_for():
    pools = {
        each["command"][each["command"].index("--pool") + 1]: name
        for name, each in SERVICES.items()
        if "--pool" in each.get("command", [])
    }
    assert pools == {"cpu": "worker-cpu", "gpu": "worker-gpu"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_worker_for_gpus_is_told_what_the_one_that_is_started_here_is():
    here, there = SERVICES["worker-cpu"], SERVICES["worker-gpu"]
    pool = there["command"].index("gpu")
    assert [*there["command"][:pool], "cpu", *there["command"][pool + 1 :]] == here["command"]
    assert there["environment"] == here["environment"]
    assert there["healthcheck"] == here["healthcheck"]


def test_services_of_the_image_may_do_no_more_than_they_need():
    for name in ("server", "worker-cpu", "worker-gpu"):
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def health_of(service: str, **changed: str) -> int:
    """Runs the health check of a service, with ports and the like as they are here."""
    _, program, *arguments = SERVICES[service]["healthcheck"]["test"]
    for old, new in changed.items():
        arguments = [each.replace(old.lstrip("_"), new) for each in arguments]
    program = sys.executable if program == "python" else shutil.which(program) or program
    done = subprocess.run(
        [program, *arguments], capture_output=True, check=False, timeout=300, env=os.environ
    )
    return done.returncode


def wait_for(service: str, status: int, process: subprocess.Popen[str], **changed: str) -> None:
    last = time.monotonic() + _PATIENCE_S  # a bound on a wait for a state, never its length
    while (found := health_of(service, **changed) != 0) != bool(status):
        assert process.poll() is None or status, f"{service} ended by itself"
        assert time.monotonic() < last, f"{service}: health {found}"
        time.sleep(0.2)


@contextmanager
def started(
    command: list[Any], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as sink:
        process = subprocess.Popen(
            command, env=environment, stdout=sink, stderr=sink, text=True, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def database() -> Iterator[tuple[Path, list[str]]]:
    """The folder of a fresh cluster, and what puts a command under another user than root."""
    if shutil.which("initdb") is None:
        pytest.xfail("no Postgres on this machine; apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="sllm-postgres-"))
    as_nobody: list[str] = []
    if os.geteuid() == 0:
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chown(folder, 65534, 65534)
    (folder / "password").write_text("not-a-secret: p@ss/w:rd")
    make = ["initdb", "-D", folder / "data", "-U", "prefect", "-A", "scram-sha-256"]
    subprocess.run(
        [*as_nobody, *make, f"--pwfile={folder / 'password'}"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    yield folder, as_nobody
    shutil.rmtree(folder)


@pytest.mark.prefect
def test_server_and_worker_come_up_on_postgres_and_their_health_checks_can_fail(
    database, tmp_path, monkeypatch
):
    folder, as_nobody = database
    port, api, worker_port = str(free_port()), str(free_port()), str(free_port())
    password = (folder / "password").read_text()
    monkeypatch.setenv("PGPORT", port)
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
    }
    ours = {"postgres": "127.0.0.1", "5432": port, "server:4200": f"127.0.0.1:{api}"}
    ours |= {"4200": api, "8080": worker_port}

    def environment_of(service: str) -> dict[str, str]:
        stated = SERVICES[service]["environment"]
        there = {
            name: password
            if SECRET.search(name)
            else ours.get(value, value.replace("server:4200", f"127.0.0.1:{api}"))
            for name, value in stated.items()
        }
        return inherited | there | {"PREFECT_HOME": str(tmp_path / service), "HF_HUB_OFFLINE": "1"}

    def command_of(service: str) -> list[Any]:
        program, *arguments = SERVICES[service]["command"]
        return [BIN / program, *(ours.get(each, each) for each in arguments)]

    postgres = [*as_nobody, shutil.which("postgres"), "-D", folder / "data", "-p", port]

    def service(name: str) -> AbstractContextManager[subprocess.Popen[str]]:
        return started(command_of(name), environment_of(name), tmp_path / f"{name}.log")

    with started([*postgres, "-k", folder], inherited, tmp_path / "postgres.log") as running:
        wait_for("postgres", 0, running)
        _make_database(port, password)
        with service("server") as server:
            wait_for("server", 0, server, _4200=api)
            with service("worker-cpu") as worker:
                wait_for("worker-cpu", 0, worker, _8080=worker_port)
            assert health_of("worker-cpu", _8080=worker_port) != 0
            running.send_signal(signal.SIGQUIT)  # at once, whoever is connected
            running.wait(300)
            assert health_of("postgres") != 0
            wait_for("server", 1, server, _4200=api)


def _make_database(port: str, password: str) -> None:
    """Makes the database that the postgres image makes of POSTGRES_DB."""
    subprocess.run(
        ["createdb", "-h", "127.0.0.1", "-p", port, "-U", "prefect", "prefect"],
        env={**os.environ, "PGPASSWORD": password},
        check=True,
        capture_output=True,
    )
