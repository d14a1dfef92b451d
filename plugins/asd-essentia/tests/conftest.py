"""What the tests of asd-essentia share."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from asd.plugin import Audio, create

DATA = Path(__file__).resolve().parent / "data"


@pytest.fixture(scope="session")
def golden() -> Any:
    """Return what Essentia computed (make_golden.py says how)."""
    with np.load(DATA / "musicnn.npz") as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="session")
def golden_sound(golden: Any) -> np.ndarray:
    """Return the sound of the golden arrays, float32 at 16 kHz."""
    return (golden["sound"] / 32768).astype(np.float32)


@pytest.fixture(scope="session")
def graphs() -> ModuleType:
    """Return make_example.py, which writes graphs."""
    spec = importlib.util.spec_from_file_location("make_example", DATA.parent / "make_example.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def essentia() -> None:
    """Skip the test where Essentia is not installed."""
    if importlib.util.find_spec("essentia") is None:
        pytest.skip("essentia-tensorflow is not installed; the golden arrays stand in for it")


@pytest.fixture(scope="session")
def log_mel() -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from samples to the frames of ``musicnn-mel``, (n, 96)."""
    frontend = create("frontend", "musicnn-mel", {"window": 0.016, "hop": 0.016})
    return lambda samples: frontend(Audio(samples[np.newaxis], 16000)).values[:, 0]
