"""The notebook of the documentation runs, shows what its committed copy shows, and looks well in a browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "tutorial" / "notebook.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the notebook, run anew, and of its page."""
    for needed in ("nbconvert", "ipykernel", "pandas", "sklearn"):
        pytest.importorskip(needed, reason="runs a notebook")
    folder = tmp_path_factory.mktemp("notebook")
    environment = {**os.environ, "ASD_OFFLINE": "1", "ASD_CACHE": str(folder / "cache"), "IPYTHONDIR": str(folder)}
    for form, source in (("notebook", NOTEBOOK), ("html", folder / "notebook.ipynb")):
        command = [sys.executable, "-m", "nbconvert", "--to", form, str(source), "--output-dir", str(folder)]
        command += ["--execute"] if form == "notebook" else []
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def texts_of(path: Path) -> list[str]:
    """Return what each cell shows as text; numbers are rounded, for the last digits differ between machines."""
    outputs: list[dict[str, Any]] = [
        output for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] for output in cell.get("outputs", [])
    ]
    texts = ("".join(each.get("text") or each.get("data", {}).get("text/plain", "")) for each in outputs)
    shown = (re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1g}", text) for text in texts)
    return [" ".join(text.split()) for text in shown if text.strip()]


@pytest.mark.slow
def test_it_shows_what_its_committed_copy_shows(executed: Path) -> None:
    assert texts_of(executed / "notebook.ipynb") == texts_of(NOTEBOOK)
    assert len(texts_of(NOTEBOOK)) >= 6


@pytest.mark.slow
def test_models_and_verdicts_are_drawn_in_a_browser(executed: Path, browser: Any, tmp_path: Path) -> None:
    browser.open(executed / "notebook.html", width=1000, height=2300)
    assert browser.evaluate("document.querySelectorAll('.jp-OutputArea svg').length") >= 2
    assert browser.evaluate("document.querySelectorAll('.dataframe tbody tr').length") == 7
    browser.screenshot(tmp_path / "notebook.png")
    assert (tmp_path / "notebook.png").stat().st_size > 20_000
