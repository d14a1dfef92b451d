"""What all tests of the workspace share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_SHARED = Path(os.environ.get("ASD_SHARED", Path(__file__).resolve().parent.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real recordings, weights and golden arrays; skip the test on a clone without it."""
    if not _SHARED.is_dir():
        pytest.skip("the folder 'shared' with recordings and golden arrays is not beside this clone")
    return _SHARED
