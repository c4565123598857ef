"""What each of vLLM's processes runs first, wherever this package is installed.

vLLM finds it by the entry point `vllm.general_plugins`.
"""


def allow_amx() -> None:
    """Asks the kernel for the registers of AMX, where the processor has them.

    Linux ends a process at its first use of a tile that it did not ask for. vLLM 0.32 leaves
    the asking to oneDNN, which a small model never calls before bfloat16 attention uses one.
    """
    import torch  # noqa: PLC0415 - vLLM has it by then

    if torch.cpu._is_amx_tile_supported():  # noqa: SLF001 - as vLLM asks
        torch.cpu._init_amx()  # noqa: SLF001 - torch has no public name for it
