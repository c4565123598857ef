"""Parts of `bench_ray`, in a module that workers can import."""

import time


def compute(seconds: float) -> int:
    """Computes for so many seconds of this process's own time."""
    until, number = time.process_time() + seconds, 1
    while time.process_time() < until:
        number = number * 48_271 % 2_147_483_647
    return number


def wait(seconds: float) -> None:
    """Waits."""
    time.sleep(seconds)
