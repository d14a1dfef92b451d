"""The commands of the reference's page "Interface over HTTP", each asked of a real server, in a shell."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import asd

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "examples" / "data"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "make" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_example_is_understood(
    reference: ModuleType, server: Callable[..., Any], history: Path, tmp_path: Path
) -> None:
    """No path, method, parameter or body of the page is unknown to the server, and none makes it fail."""
    parameters: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
    asd.fit(DATA / "train", cache=False, **parameters).save(tmp_path / "pump.asd")
    shutil.copy(sorted((DATA / "test" / "normal").glob("*.flac"))[0], tmp_path / "today.wav")
    running = server({"pump": tmp_path / "pump.asd"}, history=history)
    environment = {**os.environ, "ASD_KEY": running.key("administer"), "EVENT": "a1b2c3d4e5f60718"}
    environment |= {"RECORDING": "none", "JOB": "none"}
    codes: dict[str, int] = {}
    asked = [each for each in reference.operations(reference.server_description()) if "/session" not in each[0]]
    for path, method, operation in asked:
        command = reference.curl(path, method, operation).replace("http://127.0.0.1:8787", running.url)
        command = command.replace("machines/fan", "machines/pump%20%3C1%3E")
        answer = shlex.quote(str(tmp_path / "answer"))
        quiet = f"{command} --silent --show-error --max-time 60 -o {answer} -w '%{{http_code}}'"
        done = subprocess.run(
            ["sh", "-c", quiet], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, (command, done.stderr)
        codes[f"{method} {path}"] = int(done.stdout)
        assert int(done.stdout) not in (400, 401, 403, 405, 415, 422, 500), (command, (tmp_path / "answer").read_text())
    reads = {
        name: code
        for name, code in codes.items()
        if name.startswith("get") and not {"nearest", "jobs"} & set(name.split("/"))
    }
    missing = [
        name for name, code in reads.items() if code == 404 and not {"recordings", "settings"} & set(name.split("/"))
    ]
    assert missing == []
    assert codes["post /api/models/{model}/score"] == 200
    assert len(codes) >= 17


def test_every_operation_is_on_the_page(reference: ModuleType) -> None:
    page = reference.http_page()
    for path, method, operation in reference.operations(reference.server_description()):
        assert f"### `{method.upper()} {path}`" in page
        assert operation.get("description"), f"{method} {path} has no description"
