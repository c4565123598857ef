"""Runs a command in which a chosen system call fails: EIO on the n-th write, fsync, rename ...

    python failing_calls.py --call fsync --path 'audio/' --nth 3 --errno EIO -- COMMAND ...

No code of the command is replaced. A seccomp filter, which the command and all that it starts
inherit, stops it at each such call and asks this process; this process looks at the file that
is meant, and either lets the call go on or lets it fail. No privilege and no compiler are
needed; Linux 5.5 or later on x86-64.

    call stopped ─> kernel ─> listener ─> path matches? n-th one? ─> EIO, or go on
"""

import argparse
import array
import ctypes
import errno
import fcntl
import os
import re
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER = 317, 1, 8
_ALLOW, _ASK = 0x7FFF0000, 0x7FC00000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTICE = struct.Struct("QIIiIQ6Q")  # id, thread, flags; number, architecture, pointer, arguments
_ANSWER = struct.Struct("QqiI")  # id, value, error, flags
_GO_ON = 1
_LONGEST_PATH = 4096
_LIBC = ctypes.CDLL(None, use_errno=True)

Call = tuple[int, Callable[[int, Sequence[int]], str]]
"""Number of a system call, and how to find the file that it is about."""


def _by_descriptor(thread: int, arguments: Sequence[int]) -> str:
    return str(Path(f"/proc/{thread}/fd/{arguments[0]}").readlink())


def _by_name(position: int) -> Callable[[int, Sequence[int]], str]:
    def find(thread: int, arguments: Sequence[int]) -> str:
        with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
            content = os.pread(memory.fileno(), _LONGEST_PATH, arguments[position])
        name = os.fsdecode(content.partition(b"\0")[0])
        return str(Path(f"/proc/{thread}/cwd").readlink() / name)

    return find


CALLS: dict[str, tuple[Call, ...]] = {
    "write": (
        (1, _by_descriptor),
        (18, _by_descriptor),
        (20, _by_descriptor),
        (296, _by_descriptor),
    ),
    "fsync": ((74, _by_descriptor), (75, _by_descriptor)),
    "rename": ((82, _by_name(1)), (264, _by_name(3)), (316, _by_name(3))),
    "mkdir": ((83, _by_name(0)), (258, _by_name(1))),
    "open": ((257, _by_name(1)),),
    "unlink": ((87, _by_name(0)), (263, _by_name(1))),
}
"""By what they do: write, pwrite64, writev, pwritev; fsync, fdatasync; rename, renameat, ..."""


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_so", ctypes.c_uint8),
        ("if_not", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def install_filter(numbers: Sequence[int]) -> int:
    """Makes these calls of this process ask first; returns the listener that is asked."""
    program = [(_LOAD, 0, 0, 0)]
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        program.append((_JUMP_IF_EQUAL, left, 0, number))
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ASK)]
    instructions = (_Instruction * len(program))(*(_Instruction(*line) for line in program))
    whole = _Program(len(program), instructions)
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    listener = _LIBC.syscall(_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(whole))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


@dataclass(kw_only=True, slots=True)
class Fault:
    """Which of the calls fail, and how."""

    call: str
    path: re.Pattern[str]
    nth: int
    """The first of those on such a path that fails, from 1."""
    times: int
    """How many fail from there on."""
    errno: int
    _seen: int = field(default=0)

    def answer(self, number: int, thread: int, arguments: Sequence[int]) -> int:
        """Returns 0 where the call may go on, else the error that it ends with."""
        find = dict(CALLS[self.call])[number]
        try:
            path = find(thread, arguments)
        except OSError:  # killed meanwhile, or no such descriptor
            return 0
        if not self.path.search(path):
            return 0
        self._seen += 1
        return self.errno if self.nth <= self._seen < self.nth + self.times else 0


def supervise(listener: int, fault: Fault) -> None:
    """Answers until all processes with the filter are gone."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        _, happened = poll.poll()[0]
        if not happened & select.POLLIN:
            return
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notice)
            identity, thread, _, number, _, _, *arguments = _NOTICE.unpack(notice)
            error = fault.answer(number, thread, arguments)
            fcntl.ioctl(listener, _SEND, _ANSWER.pack(identity, 0, -error, 0 if error else _GO_ON))
        except OSError as gone:  # the caller was killed while it waited
            if gone.errno not in (errno.ENOENT, errno.EINTR):
                raise


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--call", choices=CALLS, required=True)
    parser.add_argument("--path", required=True, help="regular expression, searched in the path")
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--errno", default="EIO")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    fault = Fault(
        call=given.call,
        path=re.compile(given.path),
        nth=given.nth,
        times=given.times,
        errno=getattr(errno, given.errno),
    )
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        ours.close()
        listener = install_filter([number for number, _ in CALLS[fault.call]])
        rights = array.array("i", [listener])
        theirs.sendmsg([b"l"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        os.close(listener)
        os.execvp(given.command[0], given.command)  # noqa: S606 - as subprocess would
    theirs.close()
    _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
    # Ctrl-C and the like are for the command; its end is this one's, too
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervise(listener, fault)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
