"""The set-up, as far as it can be tried without installing gigabytes again."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINS = ("pins-cpu.txt", "pins-gpu.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins_of(name: str) -> dict[str, str]:
    """Package to version, for this Python."""
    pins = {}
    for line in (ROOT / ".ci" / name).read_text().splitlines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            (specifier,) = requirement.specifier
            pins[canonicalize_name(requirement.name)] = specifier.version
    return pins


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of what the set-up reads, so that the real environment stays untouched."""
    for name in ("Makefile", "pyproject.toml", ".ci"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHON", "ACCEL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=checkout,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def a_program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


def the_only_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def tools_only(folder: Path) -> str:
    """A PATH with what the set-up itself needs, and no Python."""
    folder.mkdir()
    for tool in (
        "bash",
        "sh",
        "make",
        "dirname",
        "uname",
        "sha256sum",
        "cut",
        "cat",
        "rm",
        "grep",
    ):
        (folder / tool).symlink_to(Path(shutil.which(tool) or tool).resolve())
    return str(folder)


@pytest.mark.parametrize("target", ["setup", "test", "demo"])
def test_a_python_that_is_not_there_is_said_in_one_line(checkout, target):
    line = the_only_line(make(checkout, target, "PYTHON=/nonexistent"))
    assert line == "setup: PYTHON must be a Python 3.11 to 3.13 that runs, got /nonexistent"
    assert not (checkout / ".venv").exists()


def test_no_python_at_all_is_said_in_one_line(checkout):
    line = the_only_line(make(checkout, "setup", PATH=tools_only(checkout / "tools")))
    assert line.startswith("setup: no Python 3.11 to 3.13 found")


def test_a_shim_that_does_not_run_is_passed_over(checkout):
    path = tools_only(checkout / "tools")
    for name in ("python3.11", "python3.12", "python3"):
        a_program(checkout / "tools", name, "echo 'command not found' >&2; exit 127")
    a_program(
        checkout / "tools", "python3.13", '[ "$1" = -c ] && case $2 in *venv*) exit 1;; esac'
    )
    line = the_only_line(make(checkout, "setup", PATH=path))
    assert line.startswith("setup: python3.13 lacks venv; install it")


def test_a_python_without_venv_is_said_in_one_line(checkout):
    ours = f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    program = a_program(checkout / "bin", "python3.11", ours)
    line = the_only_line(make(checkout, "setup", f"PYTHON={program}"))
    assert "lacks venv" in line
    assert "apt-get install python3-venv" in line


def test_another_machine_is_said_in_one_line(checkout):
    a_program(checkout / "bin", "uname", 'case "$1" in -s) echo Darwin;; *) echo arm64;; esac')
    path = f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"
    line = the_only_line(make(checkout, "setup", PATH=path))
    assert line == "setup: this project runs on Linux x86-64, this machine is Darwin arm64"


def test_an_unknown_accelerator_is_said_in_one_line(checkout):
    line = the_only_line(make(checkout, "setup", "ACCEL=tpu"))
    assert line == "setup: ACCEL must be cpu or gpu, got tpu"


FINDING = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2"], "description": "bad"}


def audited(checkout: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs .ci/audit on one pin, with a program in the place of pip-audit."""
    (checkout / "bin").mkdir()
    (checkout / "bin/python").symlink_to(sys.executable)
    a_program(checkout / "bin", "pip-audit", script)
    (checkout / "pins.txt").write_text("left-pad==1\n")
    return subprocess.run(
        [checkout / "bin/python", checkout / ".ci/audit", checkout / "pins.txt"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def answer_of(*vulnerabilities: dict[str, object]) -> str:
    package = {"name": "left-pad", "version": "1", "vulns": list(vulnerabilities)}
    return f"echo '{json.dumps({'dependencies': [package]})}'"


def test_a_known_vulnerability_fails_and_is_named(checkout):
    done = audited(checkout, answer_of(FINDING))
    assert done.returncode == 1
    assert "left-pad 1: CVE-1, PYSEC-1, mended in 2\n" in done.stdout


def test_a_vulnerability_that_is_explained_is_no_failure(checkout):
    (checkout / ".ci/audit-ignore.txt").write_text("# why\nCVE-1 we never call it\n")
    done = audited(checkout, answer_of(FINDING))
    assert done.returncode == 0
    assert "mended in 2 (accepted)" in done.stdout


def test_an_explanation_without_a_reason_is_refused(checkout):
    (checkout / ".ci/audit-ignore.txt").write_text("CVE-1\n")
    assert "CVE-1 must be followed by a reason" in audited(checkout, answer_of()).stderr


def test_nothing_found_is_no_failure(checkout):
    done = audited(checkout, answer_of())
    assert (done.returncode, done.stdout) == (0, "pins.txt: 1 packages looked up, 0 findings\n")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'no route' >&2; exit 1", "no route"),
        ("""echo '{"dependencies": [{"name": "x", "skip_reason": "not found"}]}'""", "knows none"),
    ],
)
def test_a_database_out_of_reach_is_said_and_is_no_failure(checkout, script, reason):
    done = audited(checkout, script)
    assert done.returncode == 0
    assert "passed over, the database is out of reach" in done.stdout
    assert reason in done.stdout


def test_the_real_program_without_a_network_is_out_of_reach(checkout):
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    program = Path(sys.executable).with_name("pip-audit")
    done = audited(checkout, f'exec {program} "$@" --service osv', **nowhere)
    assert done.returncode == 0
    assert "passed over, the database is out of reach" in done.stdout


def test_help_is_the_default_and_lists_every_target(checkout):
    done = make(checkout)
    assert done.returncode == 0
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert listed >= {"setup", "demo", "test", "check", "bench", "pins", "clean"}


@pytest.mark.parametrize("name", PINS)
def test_pins_hold_plain_versions_and_no_address(name):
    for line in (ROOT / ".ci" / name).read_text().splitlines():
        requirement = Requirement(line)
        assert requirement.url is None
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], line
        assert not re.search(r"://|--|@", line)


@pytest.mark.parametrize("name", PINS)
def test_pins_satisfy_every_dependency_of_the_project(name):
    pins = pins_of(name)
    extra = PROJECT["project"]["optional-dependencies"][name[len("pins-") : -len(".txt")]]
    stated = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"], *extra]
    for text in stated:
        requirement = Requirement(text)
        pinned = pins.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{text} is not pinned; run `make pins`"
        assert requirement.specifier.contains(pinned, prereleases=True), f"{text}: {pinned}"


def test_both_builds_share_one_torch_that_torchaudio_is_linked_to():
    assert {pins_of(name)["torch"] for name in PINS} == {"2.13.0"}


def test_this_environment_is_the_pinned_one():
    cpu, gpu = (pins_of(name) for name in PINS)
    # only what .venv itself holds: a library that was imported before this test may have put
    # a folder with copies of its own on the path
    folder = sysconfig.get_path("purelib")
    installed = {
        canonicalize_name(each.name): each.version.partition("+")[0]
        for each in importlib.metadata.distributions(path=[folder])
    }
    pins = gpu if "vllm" in installed else cpu
    differing = {
        name: (version, installed.get(name))
        for name, version in pins.items()
        if version.partition("+")[0] != installed.get(name)
    }
    assert not differing


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory) -> Path:
    """The wheel as installed elsewhere; a wheel of pure Python is installed by unpacking."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = folder.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_works_outside_the_checkout(unpacked_wheel, tmp_path):
    code = (
        "import sllm_data, sllm_data.files as f;"
        "print(sllm_data.__file__);"
        "[print(p) for n in ('instruction_pools', 'prompts', 'recipes')"
        " for p in sorted(f.shipped_folder(n).rglob('*')) if p.is_file()]"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked_wheel)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert all(path.is_relative_to(unpacked_wheel) for path in paths), paths
    shipped = {str(path.relative_to(unpacked_wheel / "sllm_data")) for path in paths}
    for folder, suffix in (("instruction_pools", ".yaml"), ("prompts", ".j2")):
        ours = {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob(f"*{suffix}")}
        assert ours
        assert ours <= shipped
    recipes = {
        str(p.relative_to(ROOT / "sllm_data")) for p in ROOT.glob("sllm_data/recipes/*.yaml")
    }
    assert recipes
    assert recipes <= shipped
    models = Path("testbed/assets")
    assert {path.name for path in (unpacked_wheel / "sllm_data" / models).iterdir()} == {
        path.name for path in (ROOT / "sllm_data" / models).iterdir()
    }


def test_the_wheel_holds_the_types_and_neither_flows_nor_tests(unpacked_wheel):
    tops = {path.name for path in unpacked_wheel.iterdir()}
    assert (unpacked_wheel / "sllm_data" / "py.typed").is_file()
    assert {name for name in tops if not name.endswith(".dist-info")} == {"sllm_data"}


VIOLATIONS = {
    "Imports point down; stages are blind to one another": (
        "sllm_data/corpora/planted.py",
        "import sllm_data.assembly",
    ),
    "The library does not know the flows": ("sllm_data/steps/planted.py", "import flows"),
    "Flows reach the library through steps and config only": (
        "flows/planted.py",
        "import sllm_data.corpora",
    ),
    "The testbed makes corpora and models and knows nothing of the pipeline": (
        "sllm_data/testbed/planted.py",
        "import sllm_data.records",
    ),
    "Prefect stays in flows": ("sllm_data/steps/planted_prefect.py", "import prefect"),
    "vLLM stays behind one module": ("sllm_data/generation/planted.py", "import vllm"),
    "Jinja2 stays in prompting and chat": ("sllm_data/assembly/planted.py", "import jinja2"),
    "Ray stays in runners": ("sllm_data/steps/planted_ray.py", "import ray"),
    "Torch stays in audio, alignment, trainer, evaluation, testbed and the vLLM module": (
        "sllm_data/sampling/planted.py",
        "import torch",
    ),
    "The datasets library stays in corpora and exporting": (
        "sllm_data/shards/planted.py",
        "import datasets",
    ),
}


def test_every_import_contract_is_broken_by_the_violation_meant_for_it(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("sllm_data", "flows"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    shutil.copy2(ROOT / ".importlinter", tmp_path)
    for path, code in VIOLATIONS.values():
        (tmp_path / path).write_text(code + "\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    broken = set(re.findall(r"^(.+) BROKEN", done.stdout, flags=re.MULTILINE))
    assert broken == set(VIOLATIONS), done.stdout
