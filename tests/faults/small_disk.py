"""Runs a command several times with its output on a small disk that grows in between.

    unshare -m python small_disk.py FOLDER KEEP size=64k size=256k ro size=64m -- COMMAND ...

A tmpfs is mounted on FOLDER with the first option and mounted again with each further one; in
a namespace of its own, so that it vanishes with the last of these processes. After each run
KEEP/<n>/ gets a copy of FOLDER, and what the command said and its exit status stand in
KEEP/<n>.err and KEEP/<n>.status.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> None:
    """Mounts, runs, copies; once for each option."""
    at = arguments.index("--")
    folder, keep, *options = arguments[:at]
    command = arguments[at + 1 :]
    for number, option in enumerate(options):
        again = "remount," if number else ""
        mount = ["mount", "-t", "tmpfs", "-o", f"{again}{option}", "tmpfs", folder]
        subprocess.run(mount, check=True)
        with Path(keep, f"{number}.err").open("wb") as said:
            ended = subprocess.run(command, stderr=said, check=False)
        Path(keep, f"{number}.status").write_text(str(ended.returncode))
        shutil.copytree(folder, Path(keep, str(number)))


if __name__ == "__main__":
    main(sys.argv[1:])
