"""A plant of three machines for all tests of this distribution, and a server that shows one, in this process."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

_DEMO = Path(__file__).resolve().parents[2] / "examples" / "serve" / "demo_plant.py"


@pytest.fixture(scope="session")
def demo() -> Any:
    """Return the example that makes a plant."""
    spec = spec_from_file_location("demo_plant", _DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def plant_folder(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with plant.toml, models, and a history that a real listener wrote; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # one for all workers: it takes ten seconds to make
    with (base / "plant.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "plant" / "plant.toml").exists():
            shutil.rmtree(base / "plant", ignore_errors=True)
            demo.make(base / "plant")
    return base / "plant"


@pytest.fixture
def plant_history(plant_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of that history, which may be changed."""
    return Path(shutil.copytree(plant_folder / "history", tmp_path / "history"))


@pytest.fixture
def plant_settings(plant_folder: Path, plant_history: Path) -> Path:
    """Return settings of a listener that goes on with that copy, without end."""
    text = (plant_folder / "plant.toml").read_text()
    path = plant_history.parent / "plant.toml"
    path.write_text(text.replace(f'folder = "{plant_folder.absolute() / "history"}"', f'folder = "{plant_history}"'))
    return path


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a server with such a state, and returns a client that has a key to look."""
    from fastapi.testclient import TestClient

    from asd_serve.app import opened
    from asd_serve.state import State

    with ExitStack() as stack:

        def show(**facts: Any) -> Any:
            state = State(tmp_path / "serve", {}, **facts)
            app = stack.enter_context(opened(state))
            _, key = state.keys.create("tests", "look")
            client = TestClient(app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {key}"})
            return stack.enter_context(client)

        yield show
