"""A client of a cluster: of processes that are started here, of a scheduler somewhere, of what the user already has."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, rpc
from distributed.deploy.cluster import Cluster
from distributed.security import Security
from distributed.utils import LoopRunner
from distributed.versions import VersionMismatchWarning
from tornado.websocket import WebSocketError

from asd.errors import EngineError
from asd_dask.quiet import quiet

_UNWATCHED = {
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    # Not MALLOC_TRIM_THRESHOLD_, which Dask sets low: each array's memory would go back to the system and come again.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
    ),
}
"""What Dask's processes watch of themselves many times a second is for its dashboard, which is nobody's here."""


@contextmanager
def opened(scheduler: str | None, given: Client | Cluster | None, patience: float) -> Iterator[Client]:
    """Connect, and close what was opened: all of it but what the user gave.

    Parameters
    ----------
    scheduler : str or None
        As `asd_dask.engine.DaskEngine` takes it.
    given : Client or Cluster or None
        What the user opened himself.
    patience : float
        Seconds to wait for a scheduler.

    Raises
    ------
    EngineError
        If there is no scheduler that answers.
    """
    if isinstance(given, Client):
        if given.asynchronous or given.status not in ("running", "connecting"):
            raise EngineError(
                f"{given}: the engine 'dask' needs a client that is open and not asynchronous; give it "
                "distributed.Client(ADDRESS)"
            )
        yield given
        return
    scheduler = scheduler or str(dask.config.get("scheduler-address", None) or "local")
    with quiet():
        if given is not None:
            with _client(given, timeout=patience) as client:
                yield client
        elif scheduler.partition(":")[0] == "local":
            yield from _local(scheduler)
        else:
            yield from _remote(scheduler, patience)


def _client(place: str | Cluster, **options: Any) -> Client:
    with warnings.catch_warnings():
        # Versions of Dask that differ a little understand each other; whether those of asd are equal, the core asks.
        warnings.simplefilter("ignore", VersionMismatchWarning)
        return Client(place, set_as_default=False, **options)


def _local(scheduler: str) -> Iterator[Client]:
    """Start worker processes here.

    They take work by certificates made for this run: whoever may talk to a scheduler can have it run anything, and
    every user of a computer reaches its ports.
    """
    count = int(scheduler.partition(":")[2] or os.cpu_count() or 1)
    try:
        with dask.config.set(_UNWATCHED):
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                security=True,
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # a process that is large for a moment is not ended, as without Dask
                silence_logs=logging.CRITICAL + 1,
                preload=["asd_dask.preload"],
            )
    except (RuntimeError, OSError) as error:
        raise EngineError(
            f"{scheduler}: the worker processes did not start ({reason_of(error)}); a script that starts some needs "
            "its own work behind: if __name__ == '__main__':"
        ) from None
    # Scheduler and client are one process: messages between them take a third less of its time without a port. Results
    # come from the workers themselves, which saves them a fifth of the time that a piece takes besides its work.
    scheduler_here: Any = cluster.scheduler
    cluster.sync(scheduler_here.listen, "inproc://")
    address = scheduler_here.listeners[-1].contact_address
    with cluster, _client(address, security=cluster.security, direct_to_workers=True) as client:
        yield client


def _remote(scheduler: str, patience: float) -> Iterator[Client]:
    """Connect to a scheduler that runs already."""
    try:
        address = _address_of(scheduler, patience)
        security = Security()
        _check(address, security.get_connection_args("client"), patience)
        client = _client(address, timeout=patience, security=security)
    except (TypeError, ssl.SSLError, FileNotFoundError, PermissionError) as error:
        raise EngineError(
            f"scheduler {scheduler}: the certificates that Dask's configuration names (distributed.comm.tls: ca-file, "
            f"client.cert, client.key) cannot be used: {reason_of(error)}; an address tls://HOST:PORT needs all three"
        ) from None
    except (OSError, ValueError, RuntimeError, WebSocketError) as error:
        raise EngineError(
            f"scheduler {scheduler}: no scheduler answered within {patience:g} s ({reason_of(error)}); is 'dask "
            "scheduler' running there, and can this computer reach it (an encrypted one by tls://HOST:PORT)? "
            "Worker processes on this computer: --scheduler local:N"
        ) from None
    with client:
        yield client


def _address_of(scheduler: str, patience: float) -> str:
    """Return the address, read from a scheduler's file if it is one; the file may be about to be written."""
    if not scheduler.endswith(".json"):
        return scheduler if "://" in scheduler else f"tcp://{scheduler}"
    end = time.monotonic() + patience
    while True:
        try:
            return str(json.loads(Path(scheduler).read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if time.monotonic() < end:
                time.sleep(0.1)
                continue
            raise EngineError(
                f"scheduler {scheduler}: no address could be read from it within {patience:g} s ({reason_of(error)}); "
                "expected is the file that 'dask scheduler --scheduler-file' writes once it runs"
            ) from None


def _check(address: str, arguments: dict[str, Any], patience: float) -> None:
    """Ask whoever answers there what it is: a client would wait without end for one that says nothing."""
    runner = LoopRunner(asynchronous=False)
    runner.start()
    try:
        kind = runner.run_sync(_kind, address, arguments, patience)
    finally:
        runner.stop()
    if kind != "Scheduler":
        raise EngineError(f"scheduler {address}: a {kind} of Dask answers there; give the address of its scheduler")


async def _kind(address: str, arguments: dict[str, Any], patience: float) -> str:
    async with rpc(address, timeout=patience, connection_args=arguments) as node:
        return str((await asyncio.wait_for(node.identity(), patience))["type"])


def reason_of(error: BaseException) -> str:
    """Return in one line why."""
    error = error.__cause__ or error
    text = str(error).strip().splitlines()
    return text[0].rpartition("object at ")[2].partition(">: ")[2] or text[0] if text else type(error).__name__
