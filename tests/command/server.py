"""Runs ``asd`` for the tests: each command in a fork of a process that has imported what is slow to import.

A test that starts ``asd`` wants its exit code and what it prints, not two seconds of importing torch each time. What a
command runs is the true entry point in a process of its own, with the arguments, the environment, the folder and the
file descriptors of whoever started it; only the imports are done already, and the script that draws charts, which takes
three seconds, is made once. Tests of start-up, of signals and of what is imported start the installed command instead.

``server.py SOCKET PARENT`` serves until the process PARENT, the test run, is gone.
"""

from __future__ import annotations

import array
import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, NoReturn

SLOW_TO_IMPORT = (
    *("numpy", "torch", "sklearn.mixture", "sklearn.svm", "sklearn.ensemble", "sklearn.covariance", "soundfile"),
    *("soxr", "safetensors.numpy", "safetensors.torch", "requests", "filelock", "rich.table", "rich.console"),
    *("rich.progress", "asd.plugin", "asd.command", "asd.experiment", "asd.cli.fit", "asd.cli.score"),
    *("asd.cli.evaluate", "asd.cli.demo", "asd.cli.plugins", "asd.cli.weights", "asd.cli.cache"),
    *("asd_pages.charts", "matplotlib.figure", "matplotlib.backends.backend_agg"),
)

# In another process, because what makes it starts threads, which a fork would lack.
MAKE_SCRIPT = """
import os, sys
from asd_pages.charts import bundle
with open(sys.argv[1] + ".new", "w", encoding="utf-8") as file:
    file.write(bundle())
os.replace(sys.argv[1] + ".new", sys.argv[1])
"""

INHERITED = os.environ.get("PYTHONPATH", "").split(os.pathsep)
"""What the command that started this process had on its path: no other command shall find it."""


def serve(place: str, parent: int) -> None:
    """Answer commands one after the other, each in a fork."""
    for name in SLOW_TO_IMPORT:
        importlib.import_module(name)
    gc.freeze()  # else the first full collection of every command copies all that was imported
    script = Path(f"{place}.js")
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [sys.executable, "-c", MAKE_SCRIPT, script], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    threading.Thread(target=_end_with, args=(parent, place), daemon=True).start()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{place}.new")
        server.listen(64)
        Path(f"{place}.new").rename(place)  # it is there when it answers
        while True:
            connection, _ = server.accept()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if os.fork() == 0:
                server.close()
                _supervise(connection, script)
            connection.close()


def _end_with(parent: int, place: str) -> None:
    while Path(f"/proc/{parent}").exists():
        time.sleep(0.5)
    Path(place).unlink(missing_ok=True)
    os._exit(0)


def _supervise(connection: socket.socket, script: Path) -> NoReturn:
    """Run one command in a process of its own and send its exit code."""
    descriptors = array.array("i")
    length = int.from_bytes(connection.recv(8), "big")
    text, ancillary, _, _ = connection.recvmsg(length, socket.CMSG_SPACE(3 * descriptors.itemsize))
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    while len(text) < length:
        text += connection.recv(length - len(text))
    command = os.fork()
    if command == 0:
        connection.close()
        _run(json.loads(text), list(descriptors), script)
    threading.Thread(target=_kill_when_left, args=(connection, command), daemon=True).start()
    _, status = os.waitpid(command, 0)
    connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    os._exit(0)


def _kill_when_left(connection: socket.socket, command: int) -> None:
    """Kill a command whose client has been killed."""
    with contextlib.suppress(OSError):
        if not connection.recv(1):
            os.kill(command, signal.SIGKILL)


def _run(request: dict[str, Any], descriptors: list[int], script: Path) -> NoReturn:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    # Those that Python opened believe to be what they were: a file, in which one can seek.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    extra = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [*extra, *(path for path in sys.path if path not in (*extra, *INHERITED))]
    sys.argv = ["asd", *request["arguments"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if filters := os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter(filters)  # type: ignore[arg-type]  # the tests set a plain action
    from asd.cli.main import main
    from asd_pages import charts

    if script.exists():
        charts.bundle = functools.cache(lambda: script.read_text(encoding="utf-8"))
    code: Any = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120  # as Python has it
    os._exit(code or 0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
