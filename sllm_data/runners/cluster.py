"""The Ray cluster of a run: joined or started when a step first needs it, left at the end.

A process has one connection to Ray. It stays for as long as somebody holds it, so that the
steps of a run share one cluster; one that was there before is neither started nor stopped here.
This module alone sets Ray up: without a dashboard, statistics of usage, and words of its own.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sllm_data.errors import ConfigError, EngineError, SllmDataError
from sllm_data.runners import cluster_guard
from sllm_data.runners.config import RunnerConfig

_CONNECT_S = 5.0
_JOINS = 3
_BY_CLIENT = "ray://"
_OBJECT_STORE_BYTES = 100 << 20
"""Parts travel by the output folder; through Ray go jobs and records of a kilobyte."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a task of no GPU keeps what its node shows it
    "RAY_DEDUP_LOGS": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
_ALONE = {
    # where a run is killed, Ray's agents would look for its cluster for a minute before they end
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3",
    # Ray would let all else on the machine go before its workers (nice 15); other runners don't
    "RAY_worker_niceness": "0",
}
"""For a cluster of this machine, which has no head to wait for."""


class _Holders:
    """How many hold the connection, of which kind it is, and how to let go of it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.count = 0
        self.by_client = False
        self.started = ExitStack()


_holders = _Holders()


@contextmanager
def cluster_kept() -> Iterator[None]:
    """Keeps the cluster that is joined within a block until the end of the outermost block."""
    with _holders.lock:
        _holders.count += 1
    try:
        yield
    finally:
        with _holders.lock:
            _holders.count -= 1
            if not _holders.count:
                _holders.started.close()


def join_cluster(config: RunnerConfig) -> None:
    """Joins the cluster of a configuration, unless this process has joined one.

    The caller is within `cluster_kept`.

    Raises:
        ConfigError: Nothing answers at its address, or it can't be joined.
    """
    import ray  # noqa: PLC0415 - half a second, and most runs need none

    with _holders.lock:
        if ray.is_initialized():
            return
        address = config.address or os.environ.get("RAY_ADDRESS") or None
        os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
        with ExitStack() as stack, _signals_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stack.callback(ray.shutdown)
            if address is None or address == "local":
                _start(ray, config, stack)
            else:
                _join(ray, address)
            _holders.by_client = (address or "").startswith(_BY_CLIENT)
            # no setting keeps its words on lost workers from standard output, where --json is
            ray._private.worker._worker_logs_enabled = False  # noqa: SLF001
            # nor from starting a cluster where a connection was lost
            ray._private.auto_init_hook.enable_auto_connect = False  # noqa: SLF001
            _holders.started.callback(stack.pop_all().close)


def _start(ray: Any, config: RunnerConfig, stack: ExitStack) -> None:  # Any: untyped module
    folder = tempfile.mkdtemp(prefix="sllm-ray-")
    stack.enter_context(_guarded(folder))
    stack.callback(ray.shutdown)  # before what is left of it, and its folder, go
    os.environ.update(_ALONE)
    cores = len(os.sched_getaffinity(0))
    workers = cores if config.workers == "auto" else config.workers
    cpus = cores if config.workers == "auto" else max(1, round(workers * config.cpus_per_task))
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=folder,
            **_silence(),
        )
    except (OSError, RuntimeError, ValueError, ConnectionError) as error:
        raise ConfigError(f"runner: Ray can't start on this machine: {_first(error)}") from error


@contextmanager
def _guarded(folder: str) -> Iterator[None]:
    """Has the processes that Ray starts within the block end with it, however it ends."""
    guard = subprocess.Popen(
        [sys.executable, "-P", cluster_guard.__file__, str(os.getpid()), folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the run, not for its guard
    )
    try:
        yield
    finally:
        guard.communicate()


def _join(ray: Any, address: str) -> None:  # Any: untyped module
    if address != "auto":
        _check_somebody_listens(address)
    for left in reversed(range(_JOINS)):
        try:
            ray.init(address=address, **_silence())
        except (OSError, RuntimeError, ValueError, ConnectionError) as error:
            # what Ray starts for a client of `ray://` dies at times as it starts (its issue 63202)
            is_refused = isinstance(error, ConnectionAbortedError)
            if is_refused and left:
                continue
            cause = str(error).strip().splitlines()[-1] if is_refused else _first(error)
            raise ConfigError(
                f"runner.address: {address} must be that of a Ray cluster with this version of "
                f"Ray and Python, it can't be joined: {cause}"
            ) from error
        else:
            if address.startswith(_BY_CLIENT):
                _end_with_its_stream()
            return


def _end_with_its_stream() -> None:
    """Has the calls of Ray's client fail as soon as its stream to the cluster has ended.

    Ray (2.60) tells them so only where it could not reconnect in time. Where the cluster has
    forgotten the client, and then can't be reached any more, it tries such a call again for ever.
    """
    from ray.util.client import ray as client  # noqa: PLC0415 - as above

    worker = client.get_context().client_worker
    stream = worker.data_client.data_thread

    def watch() -> None:
        stream.join()
        worker._in_shutdown = True  # noqa: SLF001 - what Ray itself sets, and nobody else can

    threading.Thread(target=watch, daemon=True).start()


def _check_somebody_listens(address: str) -> None:
    """Asks before Ray does, which tries for five minutes."""
    host, _, port = address.removeprefix(_BY_CLIENT).rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"runner.address: {address} must be that of a Ray cluster, nothing answers there: "
            f"{error}; start the cluster, correct runner.address or RAY_ADDRESS, or leave both "
            "out for a cluster of this machine"
        ) from error


@contextmanager
def loss_told() -> Iterator[None]:
    """Tells by one sentence that a connection by `ray://` was lost within a block.

    What Ray raises then is of many kinds: of gRPC, also before it has noticed the loss itself,
    of its own, or what it raises in a process that never joined a cluster.

    Raises:
        EngineError: It was lost.
    """
    import grpc  # noqa: PLC0415 - as above; Ray's client is made of it
    from ray.util.client import ray as client  # noqa: PLC0415 - as above

    try:
        yield
    except SllmDataError:
        raise
    except Exception as error:
        is_lost = isinstance(error, grpc.RpcError | ConnectionError) or not client.is_connected()
        if _holders.by_client and is_lost:
            raise EngineError(
                "the connection to the Ray cluster must stay, it was lost; run the same command "
                "again: committed parts stand"
            ) from error
        raise


def _silence() -> dict[str, Any]:  # Any: arguments of ray.init
    return {"log_to_driver": False, "logging_level": logging.CRITICAL}


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray answers SIGTERM itself from then on; it is the command line that should."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_room(config: RunnerConfig) -> None:
    """A task that no node is large enough for would wait for ever.

    Raises:
        ConfigError: There is no such node.
    """
    import ray  # noqa: PLC0415 - as above

    sizes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    largest = max(sizes, default=0.0)
    if largest < config.cpus_per_task:
        raise ConfigError(
            f"runner.cpus_per_task must be at most {largest:g}, the CPUs of the largest node of "
            f"the Ray cluster, got {config.cpus_per_task:g}"
        )


def num_engines_on(config: RunnerConfig, *, gpus: int) -> int:
    """How many engines of so many GPUs each the nodes of a cluster can hold.

    Raises:
        ConfigError: The cluster can't be joined.
    """
    import ray  # noqa: PLC0415 - as above

    with cluster_kept():
        join_cluster(config)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(int(node.get("GPU", 0.0)) // gpus for node in nodes)
