"""espeak-ng as a library: it comes inside a Python package, nothing of the system is needed.

It keeps state that no call of its interface resets, so each use loads it afresh, which takes
about 3 ms. Nothing else in the process may hold it open meanwhile: it would not be fresh.
"""

import _ctypes
import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import espeakng_loader

from sllm_data.errors import ModelError
from sllm_data.units import Hertz

_OUTPUT_SYNCHRONOUS = 2
_NEVER_EXIT = 0x8000
_RANDOM_SEED = 1
_LOCK = threading.Lock()


def espeak_data(folder: Path | None = None) -> Path:
    """Returns the folder of espeak-ng's voices, the package's own by default.

    Raises:
        ModelError: The library or its data is missing.
    """
    library = Path(espeakng_loader.get_library_path())
    folder = folder or library.parent / "espeak-ng-data"
    for needed in (library, folder / "phontab"):
        if not needed.is_file():
            raise ModelError(
                f"{needed}: this file of espeak-ng is missing, which comes with the package "
                "espeakng-loader; run `make setup` again"
            )
    return folder


@contextmanager
def fresh_espeak(data: Path, *, options: int = 0) -> Iterator[tuple[ctypes.CDLL, Hertz]]:
    """Loads the library, and unloads it in the end; threads take turns.

    Args:
        data: As `espeak_data` returns it.
        options: Flags of espeak_Initialize to add.

    Yields:
        The library, with a fixed random seed, and the rate of its speech: 22,050 Hz.

    Raises:
        ModelError: The library or its data can't be loaded.
    """
    path = espeakng_loader.get_library_path()
    with _LOCK:
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            raise ModelError(
                f"{path}: this library of espeak-ng can't be loaded: {error}; run `make setup` "
                "again"
            ) from error
        try:
            rate_hz = library.espeak_Initialize(
                _OUTPUT_SYNCHRONOUS, 0, str(data).encode(), _NEVER_EXIT | options
            )
            if rate_hz <= 0:
                raise ModelError(
                    f"{data}: espeak-ng must find its data here, but it says code {rate_hz}; run "
                    "`make setup` again"
                )
            try:
                library.espeak_ng_SetRandSeed(ctypes.c_long(_RANDOM_SEED))
                yield library, Hertz(rate_hz)
            finally:
                library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)  # noqa: SLF001 - ctypes has no public unload
