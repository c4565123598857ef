"""Folders of a corpus: what is in them, and whether a file named by a table is really there.

Names found on disk may be any bytes; names found in tables may be hostile. Nothing is
opened here.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sllm_data.errors import CorpusError
from sllm_data.files import inside
from sllm_data.records import Reason

AUDIO_SUFFIXES = (".flac", ".wav", ".mp3", ".ogg", ".opus")
"""Files that are audio, the preferred one first where one clip lies there several times."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an operating-system error on `path` into a CorpusError."""
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"{path}: can't be read: {error.strerror or error}; "
            "check the path and its permissions, then run the same command again"
        ) from error


def folders_in(folder: Path) -> list[str]:
    """Returns the names of the sub-folders, sorted, without hidden ones."""
    with readable(folder), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _is_shown(entry) and _leads_to_dir(entry))


def files_in(folder: Path) -> list[str]:
    """Returns the names of the regular files and links to such, sorted, without hidden ones."""
    with readable(folder), os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if _is_shown(entry) and _leads_to_file(entry)
        )


def _is_shown(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".")


# DirEntry's own tests raise on a loop of links, those of Path say no; only links ask Path,
# since it costs a system call


def _leads_to_dir(entry: os.DirEntry[str]) -> bool:
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _leads_to_file(entry: os.DirEntry[str]) -> bool:
    return Path(entry.path).is_file() if entry.is_symlink() else entry.is_file()


def check_folder_inside(root: Path, relative: str) -> None:
    """Refuses a folder of the corpus that is a link to somewhere else.

    Raises:
        CorpusError: root/relative lies outside `root`.
    """
    if stays_inside(root, relative) is None:
        raise CorpusError(
            f"{root / relative}: is a link that leaves the corpus folder; "
            "put the files themselves there, or make the folder it leads to an entry of its own"
        )


def stays_inside(root: Path, relative: str) -> Path | None:
    """Returns root/relative, or None where that leaves `root`.

    Without links on the way there is nothing to resolve, which takes a tenth of the time.
    """
    if _is_plain_path(root, relative):
        return root / relative
    return inside(root, relative)


def _is_plain_path(root: Path, relative: str) -> bool:
    """Tells whether the path goes down from `root` by folders only, without links."""
    path = str(root)
    for part in relative.split("/"):
        path = f"{path}/{part}"
        if part in ("", ".", "..") or "\x00" in part:
            return False
        if os.path.islink(path):  # noqa: PTH114 - a Path for each part costs more than the test
            return False
    return True


def is_file(path: Path) -> bool:
    """Tells whether a file is there; a name too long to exist is no error."""
    try:
        return path.is_file()
    except OSError:
        return False


def why_unusable(folder: Path, relative: str, *, root: Path) -> Reason | None:
    """Tells why folder/relative is no file of this corpus, None where it is one.

    A plain name costs one system call; only paths with folders and links are resolved.

    Args:
        folder: A folder that is known to lie inside `root`.
        relative: What a table names, without `..`.
        root: The folder that links may not leave.
    """
    path = folder / relative
    if "/" not in relative:
        try:
            mode = os.lstat(path).st_mode
        except OSError:  # missing, or a name too long to exist
            return Reason.AUDIO_MISSING
        if not stat.S_ISLNK(mode):
            return None if stat.S_ISREG(mode) else Reason.AUDIO_MISSING
    if stays_inside(root, path.relative_to(root).as_posix()) is None:
        return Reason.PATH_OUTSIDE_CORPUS
    return None if is_file(path) else Reason.AUDIO_MISSING


def named(names: Iterable[str], *, at_most: int = 20) -> str:
    """Returns the names as a list for a sentence, cut where there are many."""
    listed = [printable(name) or "''" for name in names]
    more = f" and {len(listed) - at_most} more" if len(listed) > at_most else ""
    return ", ".join(listed[:at_most]) + more if listed else "none"


def printable(name: str) -> str:
    """Returns a name from disk as valid UTF-8 on one line, other bytes escaped."""
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if text.isprintable() else repr(text)[1:-1]
