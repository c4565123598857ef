"""What all tests share: offline mode, Hypothesis profiles, and the folder of real speech."""

import os
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, max_examples=100
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
