"""Asks the process of ``server.py`` to run a command; starts it if it is not there yet. Imports as little as it can."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time


def connected(place):
    """Return a connection to the server, or None."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(place)
    except OSError:
        connection.close()
        return None
    return connection


def begin(server, place, parent):
    """Start the server, unless another command does, and wait for it.

    It gets the environment and the folder of the test run: those of the command that happens to be the first, such as
    warnings that are errors, would hold for all.
    """
    with open(f"{place}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (connection := connected(place)) is not None:
            return connection
        with open(f"{place}.environment") as file:
            environment = json.load(file)
        with open(f"{place}.log", "wb") as log:
            null = subprocess.DEVNULL
            started = subprocess.Popen(
                [sys.executable, server, place, parent],
                stdin=null,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=os.path.dirname(place),
                env=environment,
            )
        while started.poll() is None:
            if (connection := connected(place)) is not None:
                return connection
            time.sleep(0.1)
    sys.exit(f"no answer from {server}; see {place}.log")


def main(server, place, parent):
    """Run the command of ``sys.argv`` and end with its exit code."""
    connection = connected(place) or begin(server, place, parent)
    request = {"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}
    text = json.dumps(request).encode("utf-8", "surrogateescape")
    connection.sendall(len(text).to_bytes(8, "big"))
    sent = socket.send_fds(connection, [text], [0, 1, 2])
    connection.sendall(text[sent:])
    answer = connection.recv(4)
    code = int.from_bytes(answer, "big", signed=True) if len(answer) == 4 else 1
    os._exit(code if code >= 0 else 128 - code)
