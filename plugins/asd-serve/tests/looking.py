"""Looking at the page as a user does: a real server with three machines, and Chromium in front of it, by Playwright.

Nothing is replaced: sound is judged, heard and kept as it would be; the browser's microphone plays a file.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[3]
PICTURES = ROOT / "docs" / "pictures" / "serve"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NAMES = {"look": "Lou", "feedback": "Ann", "administer": "Ada"}
"""Who has a key of which role."""
WIDTHS = {400: 860, 1400: 900}
"""Heights of windows by their widths, in pixels."""
EVIL = "<b>fan & co</b>/a%2fb \"q\" 's' \\<img src=x onerror=alert(1)>"
"""A name that is markup wherever a page forgets that it is none."""
EVENTS = 1000
OLDEST = "the oldest of all events"
_SERVING = re.compile(r"Serving at (\S+)")
_GRAVE = ("serious", "critical")
_MOST_BYTES = 100_000


@dataclass
class Server:
    """A server that runs.

    Parameters
    ----------
    url : str
        Of its page.
    keys : mapping of str to str
        A key of each role.
    folder : Path
        Where it was started.
    process : subprocess.Popen
        It itself.
    """

    url: str
    keys: Mapping[str, str]
    folder: Path
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    @classmethod
    def begin(cls, words: Sequence[str], keys: Mapping[str, str], folder: Path) -> Server:
        """Start a server, and wait until it answers."""
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
        server = cls("", keys, folder, process)
        server._listen()
        return server

    def end(self) -> int:
        """Let it end, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        assert self._reader is not None
        assert self.process.stdout is not None
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        return code

    def begin_again(self) -> None:
        """Start it again where it was, after its end."""
        port = self.url.split(":")[2].split("/")[0]
        self.process = subprocess.Popen(
            [*self.process.args[:-1], port],  # type: ignore[index,list-item]
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder,
        )  # fmt: skip
        self._listen()

    def _listen(self) -> None:
        self.url = ""
        ready = threading.Event()
        self._reader = threading.Thread(target=_read, args=(self, ready), daemon=True)
        self._reader.start()
        assert ready.wait(PATIENCE), "".join(self.said)
        assert self.url, "".join(self.said)


@contextmanager
def serving(folder: Path, words: Sequence[object], *, keys_in: Path, command: Sequence[str] = ()) -> Iterator[Server]:
    """Start ``asd serve`` on a free port in `folder`, with a key of each role; end it afterwards.

    `command` is that of asd where the process itself must get signals: the one of tests forks.
    """
    asd = os.environ["ASD_COMMAND"]
    again = f" {time.time_ns()}" if (keys_in / "serve.sqlite").exists() else ""  # names of keys are used once
    keys = {}
    for role, name in NAMES.items():
        made = subprocess.run(
            [asd, "serve", "key", "create", name + again, "--role", role, "--folder", str(keys_in)],
            capture_output=True, text=True, cwd=folder, timeout=PATIENCE,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        keys[role] = made.stdout.strip()
    server = Server.begin([*(command or (asd,)), "serve", *map(str, words), "--port", "0"], keys, folder)
    try:
        yield server
    finally:
        server.end()


def _read(server: Server, ready: threading.Event) -> None:
    """Read what a server says, so that it never waits for a reader."""
    assert server.process.stdout is not None
    for line in server.process.stdout:
        server.said.append(line)
        if match := _SERVING.search(line):
            server.url = match[1]
            ready.set()
    ready.set()


@contextmanager
def chromium(microphone: Path | None = None) -> Iterator[Any]:
    """Start Chromium, whose microphone plays a file (WAV, 16 bits)."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--mute-audio", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if microphone is not None:
        options.append(f"--use-file-for-fake-audio-capture={microphone}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()


def at_most(goal: float, slow: float = 10) -> float:
    """Return how many seconds something may take: the goal, and so many times as many where nothing is measured.

    ``ASD_MEASURE=1`` on a computer without other load measures.
    """
    return goal if "ASD_MEASURE" in os.environ else slow * goal


def colours(page: Any, selector: str) -> int:
    """Return how many colours a canvas shows."""
    count: int = page.locator(selector).evaluate(
        """canvas => {
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
            copy.drawImage(canvas, 0, 0);
            const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )
    return count


def wait(page: Any, condition: Callable[[], bool]) -> None:
    """Wait until something holds of a page; what the page does is heard of meanwhile.

    The page's policy forbids what Playwright's own `wait_for_function` needs.
    """
    until(condition, pause=lambda: page.wait_for_timeout(50))


def in_sight(page: Any, place: Any) -> dict[str, float]:
    """Scroll to something, and return where it is."""
    place.wait_for()
    place.evaluate("element => element.scrollIntoView({ block: 'center' })")
    page.wait_for_timeout(300)
    box: dict[str, float] = place.bounding_box()
    return box


def query(url: str) -> dict[str, list[str]]:
    """Return what an address asks for."""
    return parse_qs(urlsplit(url).query)


def span(url: str) -> float:
    """Return the seconds that the address says are shown."""
    asked = query(url.replace("#", ""))
    return float(asked["until"][0]) - float(asked["since"][0]) if "since" in asked else float(asked["span"][0])


@dataclass
class Look:
    """A page that somebody looks at, and what must not happen on it.

    Parameters
    ----------
    page : playwright.sync_api.Page
        The page, signed in.
    server : Server
        Whose page it is.
    """

    page: Any
    server: Server
    errors: list[str] = field(default_factory=list)
    """What the console and the page's policy complained about."""
    foreign: list[str] = field(default_factory=list)
    """Requests to other hosts."""

    def go(self, place: str) -> Any:
        """Go to a place of the page, such as ``"judge"``, wait until its title is there, and return the page."""
        self.page.goto(f"{self.server.url}#/{place}")
        self.page.locator("main h1").first.wait_for()
        return self.page

    def axe(self) -> list[str]:
        """Return axe's serious findings in what is shown now."""
        from axe_playwright_python.sync_playwright import Axe

        # The library puts a script into the page by the debugger, which the page's policy does not forbid.
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]}"
            for each in found
            if each["impact"] in _GRAVE
            for node in each["nodes"]
        ]

    def picture(self, name: str, *, whole: bool = True) -> Path:
        """Take a picture for the documentation, in place if ``ASD_PICTURES`` is set; it stays below 100 kB."""
        import io

        from PIL import Image

        size = self.page.viewport_size
        if whole:  # in a window that holds all of it, so that what sticks to an edge of the window does
            tall = self.page.evaluate("document.documentElement.scrollHeight")
            self.page.set_viewport_size({**size, "height": max(tall, size["height"])})
        dark = self.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        content = self.page.screenshot(animations="disabled", caret="hide")
        self.page.set_viewport_size(size)
        out = io.BytesIO()
        with Image.open(io.BytesIO(content)) as image:
            image.convert("RGB").save(out, "WEBP", quality=70, method=6)
        assert len(out.getvalue()) < _MOST_BYTES, f"{name}: {len(out.getvalue())} bytes"
        place = PICTURES if "ASD_PICTURES" in os.environ else self.server.folder / "pictures"
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{name}-{size['width']}-{'dark' if dark else 'light'}.webp"
        path.write_bytes(out.getvalue())
        return path


@contextmanager
def looking(
    browser: Any, server: Server, role: str = "administer", *, width: int = 1400, dark: bool = False, url: str = ""
) -> Iterator[Look]:
    """Open the page in a browser of its own, signed in with a key of `role`."""
    context = browser.new_context(
        viewport={"width": width, "height": WIDTHS[width]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        permissions=["microphone"],
        has_touch=width < 600,
    )
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    look = Look(page, server)
    home = url or server.url
    page.on("console", lambda said: look.errors.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: look.errors.append(str(error)))
    page.on("request", lambda asked: look.foreign.append(asked.url) if not _own(asked.url, home) else None)
    try:
        page.goto(f"{home}#key={server.keys[role]}")
        page.locator("main h1").first.wait_for()
        yield look
    finally:
        context.close()


def _own(asked: str, home: str) -> bool:
    return asked.startswith((home, "blob:", "data:"))
