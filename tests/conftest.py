"""What all tests share: offline mode, caches, Hypothesis profiles, the folder of real speech."""

import atexit
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from s3_server import S3

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# tests run side by side, one a core; more threads than cores wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's workers beside other tests: not after all of them, as Ray would have it
os.environ.setdefault("RAY_worker_niceness", "0")
_cache = tempfile.TemporaryDirectory(prefix="sllm-datasets-")
atexit.register(_cache.cleanup)
os.environ.setdefault("HF_DATASETS_CACHE", _cache.name)  # read when datasets is imported
os.environ.setdefault("HF_MODULES_CACHE", f"{_cache.name}/modules")  # code of exported models

# a shell's background job ignores Ctrl-C, and so would every program that a test starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, max_examples=50
)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def real_speech() -> Path:
    """The folder of real corpora; where SLLM_REAL_SPEECH is unset, the test skips."""
    folder = os.environ.get("SLLM_REAL_SPEECH")
    if not folder:
        pytest.skip("SLLM_REAL_SPEECH is not set: no real speech to read")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"SLLM_REAL_SPEECH must be a folder, got {folder!r}")
    return path.resolve()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Where SLLM_FAIL_ON_SKIP is set, what a test needs must be there: a skip is a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("SLLM_FAIL_ON_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Says at once which test failed: a run that is ended early never comes to its summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        sys.stderr.write(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext}\n")
        sys.stderr.flush()


@pytest.fixture(scope="session")
def engine_inside() -> dict[str, str]:
    """Environment of a program whose vLLM has no processes of its own: it starts in half the time.

    For tests that are about what a run makes; how processes end is tested with them.
    """
    return {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights, its own tokenizer and chat template."""
    from sllm_data.testbed import write_random_backbone

    folder = tmp_path_factory.mktemp("models") / "backbone"
    write_random_backbone(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def moto() -> Iterator[int]:
    """The port of a real S3 server over HTTP."""
    from s3_server import moto_port

    with moto_port() as port:
        yield port


@pytest.fixture
def s3(moto: int) -> "Iterator[S3]":
    """An empty bucket there, behind a proxy that spoils what it is told to."""
    from s3_server import s3_behind_proxy

    with s3_behind_proxy(moto) as found:
        yield found
