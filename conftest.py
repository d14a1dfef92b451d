"""What all tests of the workspace share."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

# Tests compute what they test; those of the embedding cache turn it on, in a folder of their own.
os.environ.setdefault("ASD_CACHE_SIZE", "0")
os.environ["COLUMNS"] = "200"  # tables wrap at 80 else, and with them the texts that tests look for
os.environ.pop("FORCE_COLOR", None)  # what is not written to a terminal is compared without colours
for _name in ("NO_PROXY", "no_proxy"):  # the servers of tests are on this computer, others may be behind a proxy
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1", "localhost", "::1")))

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker is a core's: networks with a thread for every core would spend the time waiting for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_SLOW = 20
"""Other tests that take as long as a slow one, about."""

_COMMAND = Path(__file__).resolve().parent / "tests" / "command"


def pytest_configure(config: pytest.Config) -> None:
    """Let tests start ``asd`` as ``ASD_COMMAND``, without the seconds of importing (see tests/command/server.py)."""
    gc.disable()  # until the tests are collected: all that this makes is kept
    if "ASD_COMMAND" not in os.environ or hasattr(config, "workerinput"):
        long = len(tempfile.gettempdir()) > 70  # the address of a socket has 107 bytes at most
        folder = Path(tempfile.mkdtemp(prefix="asd-command-", dir="/tmp" if long else None))
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        script = folder / "asd"
        server, place = str(_COMMAND / "server.py"), str(folder / "socket")
        script.write_text(
            f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(_COMMAND)!r})\n"
            f"from client import main\nmain({server!r}, {place!r}, {str(os.getpid())!r})\n"
        )
        script.chmod(0o755)
        os.environ["ASD_COMMAND"] = str(script)
        os.environ["ASD_SETTINGS"] = str(folder / "settings")  # what tests trust, the user need not
        (folder / "socket.environment").write_text(json.dumps(dict(os.environ)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the workers of xdist the files first that take long, so that none is waited for at the end."""
    if not hasattr(config, "workerinput"):
        return
    weights = Counter[Path]()
    for item in items:
        weights[item.path] += _SLOW if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -weights[item.path])  # stable: the tests of a file stay together, and in their order


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and the tests: to look through them takes it a second each time."""
    gc.enable()
    gc.freeze()


_SHARED = Path(os.environ.get("ASD_SHARED", Path(__file__).resolve().parent.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real recordings, weights and golden arrays; skip the test on a clone without it."""
    if not _SHARED.is_dir():
        pytest.skip("the folder 'shared' with recordings and golden arrays is not beside this clone")
    return _SHARED


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Give headless Chromium (tests/browser.py); skip the test where there is none."""
    spec = spec_from_file_location("browser", Path(__file__).resolve().parent / "tests" / "browser.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.EXECUTABLE is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    with module.Browser() as started:
        yield started


@pytest.fixture(scope="module")
def embedding_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the tests of a module share embeddings, as users' commands do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASD_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ASD_CACHE_SIZE", "1GB")
        yield


@pytest.fixture(scope="session")
def rumble() -> Callable[[int], npt.NDArray[np.float64]]:
    """Return a function that gives the same 3 s of sound at any rate.

    A throbbing of 300 partials below 3400 Hz, so that all of it can be recorded at 8 kHz.
    """

    def at(rate: int) -> npt.NDArray[np.float64]:
        rng = np.random.default_rng(7)
        time = np.arange(3 * rate) / rate
        drawn = rng.uniform(50, 3400, 300), rng.uniform(0, 2 * np.pi, 300), rng.uniform(0.2, 1, 300)
        sound = np.zeros(len(time))
        for frequency, phase, level in zip(*drawn, strict=True):
            sound += level * np.sin(2 * np.pi * frequency * time + phase)
        # A hard cut at the ends would be a click, which only the higher rates can hold.
        fade = np.minimum(1, np.minimum(time, 3 - time) / 0.05)
        return np.asarray(0.005 * fade * (1 + 0.5 * np.sin(2 * np.pi * 7 * time)) * sound)

    return at


@pytest.fixture(autouse=True, scope="module")
def path_as_it_was() -> Iterator[None]:
    """Take from ``sys.path``, after each module of tests, what it put there: the folder of each plugin file, above all.

    Another plugin file, or a distribution, of the same name would not be found behind it.
    """
    before = list(sys.path)
    yield
    sys.path[:] = before


def _forget_own_classes() -> None:
    installed = sys.modules.get("asd.contract.installed")
    own = sys.modules.get("asd.contract.own")
    if installed is not None and own is not None:
        components = installed.registry().components
        components[:] = [each for each in components if not isinstance(each.spec, own.OwnSpec)]


@pytest.fixture(autouse=True, scope="module")
def own_classes_are_forgotten() -> Iterator[None]:
    """Take from the registry, after each module of tests, the classes that its tests gave in Python."""
    yield
    _forget_own_classes()


@pytest.fixture
def own_classes_forgotten_at_once() -> Iterator[None]:
    """Take them away after the test already."""
    yield
    _forget_own_classes()


@pytest.fixture(autouse=True, scope="module")
def environment_as_it_was() -> Iterator[None]:
    """Restore the variables that code under test set for its process: those of later modules would inherit them."""
    before = dict(os.environ)
    yield
    # pytest's own changes with each test
    for name in (os.environ.keys() | before) - {"PYTEST_CURRENT_TEST"}:
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Restore the level of asd's log, which each command sets for its process."""
    logger = logging.getLogger("asd")
    level = logger.level
    yield
    if logger.level != level:  # to set it makes every logger forget what it is to say
        logger.setLevel(level)
