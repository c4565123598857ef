"""Which machine a process number belongs to."""

from pathlib import Path


def this_machine() -> str:
    """Names this start of this machine, and the container whose processes have these numbers."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
