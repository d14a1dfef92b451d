"""Headless Chromium for tests, by its debugging protocol over a pipe: no driver, no network port.

with Browser() as browser:
    browser.open(path, width=1400, height=900)
    assert browser.errors == []
    assert browser.evaluate("document.title") == "asd"
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from waiting import until

EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The browser; None if there is none."""

_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
    "--mute-audio", "--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """A browser with one page."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        """What the console and the page's policy complained about since `open`."""
        self._number, self._buffer, self._session = 0, b"", ""
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        assert EXECUTABLE is not None
        self._profile = tempfile.mkdtemp(prefix="browser-")
        commands_read, self._commands = os.pipe()
        self._answers, answers_write = os.pipe()
        # The protocol is spoken on descriptors 3 and 4: the originals must not lie there themselves.
        ours = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 20) for each in (commands_read, answers_write)]
        quiet = os.open(os.devnull, os.O_RDWR)
        actions = [
            (os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, quiet, 2),
            (os.POSIX_SPAWN_DUP2, ours[0], 3), (os.POSIX_SPAWN_DUP2, ours[1], 4),
        ]  # fmt: skip
        command = [EXECUTABLE, *_OPTIONS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = os.posix_spawn(EXECUTABLE, command, os.environ, file_actions=actions, setpgroup=0)
        for each in (*ours, commands_read, answers_write, quiet):
            os.close(each)
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._commands)
        os.close(self._answers)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(
        self, path: Path, *, width: int = 1400, height: int = 900, scripts: bool = True, dark: bool = False
    ) -> dict[str, float]:
        """Open a file in a new page, and return the browser's own timing of it in milliseconds since the navigation."""
        self.errors = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Emulation.setScriptExecutionDisabled", value=not scripts)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self._call("Page.navigate", url=path.resolve().as_uri())
        self._until(lambda: any(each["method"] == "Page.loadEventFired" for each in self._events))
        if not scripts:
            return {}
        timing: dict[str, float] = self.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
        return timing

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        self._until(lambda: bool(self.evaluate(expression)))

    def screenshot(self, path: Path, *, whole: bool = False) -> Path:
        """Write a picture of what is to be seen, or of the whole page."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def pdf(self, path: Path) -> Path:
        """Print the page."""
        path.write_bytes(base64.b64decode(self._call("Page.printToPDF", printBackground=True)["data"]))
        return path

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        found: list[dict[str, Any]] = []
        self._until(lambda: bool(found), found)
        assert "error" not in found[0], f"{method}: {found[0].get('error')}"
        result: dict[str, Any] = found[0]["result"]
        return result

    def _until(self, finished: Callable[[], bool], answers: list[dict[str, Any]] | None = None) -> None:
        until(finished, "the browser does not answer", pause=lambda: self._receive(answers))

    def _receive(self, answers: list[dict[str, Any]] | None) -> None:
        """Read what is there, for at most a tenth of a second, and sort it into answers, events and errors."""
        if not select.select([self._answers], [], [], 0.1)[0]:
            return
        self._buffer += os.read(self._answers, 1 << 20)
        *messages, self._buffer = self._buffer.split(b"\0")
        for message in map(json.loads, messages):
            if message.get("id") == self._number and answers is not None:
                answers.append(message)
            elif "method" in message:
                self._events.append(message)
                self._notice(message["method"], message["params"])

    def _notice(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(str([each.get("value", each.get("description")) for each in parameters["args"]]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(str(parameters["entry"]["text"]))
