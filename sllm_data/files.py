"""Files that are whole or absent: atomic writes, digests, the output lock, safe paths."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sllm_data.errors import OutputError

TEMPORARY_SUFFIX = ".tmp"


def shipped_folder(name: str) -> Path:
    """Returns a folder of data that ships with the package (prompts, instruction_pools).

    In the wheel it lies inside the package, in a checkout beside it.
    """
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` on success and vanishes on failure.

    The content is flushed to disk before the rename and the folder after it, so that a
    file under its final name is always whole, also after a power cut.

    Raises:
        OutputError: The folder is not writable or the disk is full.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        # where the folder itself can't be used there is nothing to remove, and the error
        # on its way out says why
        with suppress(OSError):
            temporary.unlink()


def check_is_free(path: Path) -> None:
    """Refuses what `new_folder` would refuse, for those that have long work before it.

    Raises:
        OutputError: `path` is there already and not an empty folder, or can't be looked at.
    """
    with writing(path):
        is_free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if not is_free:
        raise OutputError(
            f"{path}: must not exist or be an empty folder, there is something in it; choose "
            "another one, or remove it"
        )


def check_is_apart(path: Path, dataset: Path) -> None:
    """Refuses a folder inside a dataset: what is not the dataset's may be removed there.

    Raises:
        OutputError: `path` lies in `dataset`, or is it.
    """
    with writing(path):
        is_inside = path.resolve().is_relative_to(dataset.resolve())
    if is_inside:
        raise OutputError(
            f"{path}: must lie outside of the dataset {dataset}, lies in it; choose another folder"
        )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes `path` on success and vanishes on failure.

    All files in it are flushed to disk before the rename. What a killed writer left behind under
    the temporary name is cleared away by the next; two at once are refused.

    Raises:
        OutputError: `path` is there already and not an empty folder, or it can't be written, or
            another process is about to.
    """
    check_is_free(path)
    target = Path(os.path.abspath(path))  # noqa: PTH100 - `.` gets a name, a link keeps its own
    temporary = target.with_name(f".{target.name}{TEMPORARY_SUFFIX}")
    with output_lock(temporary):
        folder = temporary / "whole"  # beside the lock, which is nobody's content
        try:
            with writing(path):
                shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
                folder.mkdir()
                yield folder
                _flush(folder)
                folder.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Flushes all files and folders below a folder to disk, and itself."""
    for where, _, names in os.walk(folder):
        for path in (*(Path(where, name) for name in names), Path(where)):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says of a file or folder that could not be written that it could not.

    Raises:
        OutputError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: can't be written: {error.strerror or error}; "
            "make room or choose another output, then run the same command again"
        ) from error


def remove_temporaries(root: Path) -> None:
    """Removes what killed writers left under temporary names; none may be at work.

    Most are written again under the same name, but a file that is not asked for again
    would stay for good.

    Raises:
        OutputError: One can't be removed.
    """
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
                path = Path(folder, name)
                with writing(path):
                    path.unlink(missing_ok=True)  # of one who writes what needs no lock


def exists(path: Path) -> bool:
    """Whether there is such a path; a name that is too long is none, and no error."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that is too long is none, and no error."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that is too long is none, and no error."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of_bytes(content: bytes) -> str:
    """Returns the SHA-256 of the bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_text(text: str) -> str:
    """Returns the SHA-256 of the text as UTF-8, in hexadecimal."""
    return sha256_of_bytes(text.encode("utf-8", "surrogatepass"))


def sha256_of_file(path: Path) -> str:
    """Returns the SHA-256 of a file, read in pieces."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def inside(root: Path, relative: str) -> Path | None:
    """Returns root/relative, or None where that leaves `root` (also through a link).

    >>> inside(Path("/data"), "../etc/passwd") is None
    True
    """
    if relative.startswith("/") or "\x00" in relative:
        return None
    path = root / relative
    try:
        resolved_root, resolved = root.resolve(), path.resolve()
    except RuntimeError:  # before Python 3.13, on a circle of links: it leads nowhere at all
        return path
    except (OSError, ValueError):  # no file name at all
        return None
    return path if resolved.is_relative_to(resolved_root) else None


class LockedError(OutputError):
    """Another process holds the lock of a folder."""


@contextmanager
def output_lock(output: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds `<output>/.lock` so that two runs never write one folder.

    The kernel releases it with the process, so a killed run leaves nothing to clean up.

    Args:
        output: The folder, made where it is not there.
        wait: Whether to wait for another process that holds it.

    Raises:
        LockedError: Another process holds it.
        OutputError: The folder can't be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        handle = (output / ".lock").open("a+")
    except OSError as error:
        raise OutputError(
            f"{output}: the output must be a folder that can be written, found: "
            f"{error.strerror or error}; choose another output"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise LockedError(
                f"{output}: another run is writing this folder; wait for it to end or stop "
                "it, then run the same command again"
            ) from error
        except OSError as error:
            raise OutputError(
                f"{output}: the file system must support locks (flock), found: "
                f"{error.strerror or error}; choose an output on another one"
            ) from error
        yield
