"""Ports for programs that tests start and that must be told one."""

import secrets
import socket
import time

_FIRST, _STOP = 24_000, 32_000
"""Below those that Linux gives to connections, and above those of Ray's workers and clients: a
program may take ten seconds to listen, and nobody else takes its port meanwhile by chance."""
_PATIENCE_S = 300


def free_port() -> int:
    """A port of this machine at which nothing listens."""
    while True:
        port = _FIRST + secrets.randbelow(_STOP - _FIRST)
        with socket.socket() as probe:
            # as servers do: a connection that has just ended is no obstacle
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def wait_until_somebody_listens(port: int) -> None:
    """Returns when a program of this machine listens at a port."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < until, f"nobody listens at {port}"
            time.sleep(0.1)
        else:
            return
