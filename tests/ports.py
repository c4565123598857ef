"""Ports for programs that tests start and that must be told one."""

import secrets
import socket

_FIRST, _STOP = 24_000, 32_000
"""Below those that Linux gives to connections, and above those of Ray's workers and clients: a
program may take ten seconds to listen, and nobody else takes its port meanwhile by chance."""


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
