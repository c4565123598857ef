"""The plugin that vLLM's processes load, as vLLM finds it."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

_PERMISSIONS = """
import ctypes
libc = ctypes.CDLL(None)
def has_tiles():
    found = ctypes.c_uint64()
    assert libc.syscall(158, 0x1022, ctypes.byref(found)) == 0  # ARCH_GET_XCOMP_PERM
    return bool(found.value >> 18 & 1)
before = has_tiles()
from vllm.plugins import load_general_plugins
load_general_plugins()
import torch
print(before, has_tiles() == torch.cpu._is_amx_tile_supported())
"""


def test_vllm_finds_the_plugin():
    (plugin,) = entry_points(group="vllm.general_plugins", name="sllm-data")
    assert callable(plugin.load())


@pytest.mark.engine
def test_a_process_of_vllm_may_use_tiles_where_the_processor_has_them():
    run = subprocess.run(
        [sys.executable, "-c", _PERMISSIONS], capture_output=True, text=True, check=True
    )
    assert run.stdout.split()[-2:] == ["False", "True"]
