"""``asd weights`` as a user meets it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Result:
    """What a command left: its exit code and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def asd(nets: Any, tmp_path: Path) -> Any:
    def run(*arguments: str, **environment: str) -> Result:
        command = [os.environ["ASD_COMMAND"], "weights", *arguments]
        given = {**os.environ, **environment}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=given)
        return Result(done.returncode, done.stdout, done.stderr)

    return run


def test_list_shows_component_size_licence_and_state(asd: Any, nets: Any, store: Path) -> None:
    shown = asd("list")
    assert (shown.returncode, shown.stderr) == (0, f"asd: the weight store is {store}\n")
    rows = [line.split() for line in shown.stdout.splitlines() if "net" in line]
    assert rows == [
        ["absent", "both-nets,", "net", "3.4", "MB", "net.pth", "BSD-3-Clause"],
        ["embedded", "both-nets,", "small-net", "0.0", "MB", "small.safetensors", "BSD-2-Clause"],
    ]


def test_list_as_json(asd: Any, nets: Any, store: Path) -> None:
    assert asd("fetch", "net").returncode == 0
    (store / "net.pth").write_bytes(b"spoilt")
    listed = json.loads(asd("list", "--json").stdout)
    assert listed[0] == {
        "components": ["asd-nets:both-nets", "asd-nets:net"],
        "file": "net.pth",
        "size": 6,
        "licence": "BSD-3-Clause",
        "state": "damaged",
        "sha256": nets.listed.sha256,
        "url": nets.listed.url,
        "path": str(store / "net.pth"),
    }
    assert (listed[1]["state"], listed[1]["path"]) == ("embedded", str(nets.shipped_path))


def test_list_without_weights(asd: Any) -> None:
    assert asd("list", ASD_PLUGINS="").stdout == "No installed component has pretrained weights.\n"
    assert json.loads(asd("list", "--json", ASD_PLUGINS="").stdout) == []


@pytest.mark.parametrize("name", ["net.pth", "both-nets", "asd-nets:both-nets"])
def test_fetch_prints_the_paths(asd: Any, nets: Any, store: Path, server: Any, name: str) -> None:
    fetched = asd("fetch", name)
    expected = [store / "net.pth"] if name == "net.pth" else [store / "net.pth", nets.shipped_path]
    assert (fetched.returncode, fetched.stderr) == (0, "")
    assert fetched.stdout.splitlines() == list(map(str, expected))
    assert (store / "net.pth").read_bytes() == server.content
    assert json.loads(asd("fetch", name, "--json", ASD_OFFLINE="1").stdout) == list(map(str, expected))


def test_a_misspelt_name_gets_close_matches(asd: Any) -> None:
    refused = asd("fetch", "net.pt")
    assert refused.returncode == 2
    assert refused.stderr == (
        "asd: error: unknown weights 'net.pt'; did you mean net.pth or net? ('asd weights list' lists all)\n"
    )


def test_fetch_offline_is_one_line_and_exit_code_2(asd: Any, store: Path, server: Any) -> None:
    refused = asd("fetch", "net", ASD_OFFLINE="1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("asd: error: net.pth: no good copy is here, and the network is forbidden (ASD_OFF")
    assert refused.stderr.count("\n") == 1
    assert server.requests == []


def test_the_way_of_an_offline_plant(asd: Any, server: Any, store: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick.pth"
    stick.write_bytes(server.content)
    imported = asd("import", "net.pth", "stick.pth", ASD_OFFLINE="1")
    assert (imported.returncode, imported.stdout) == (0, f"{store / 'net.pth'}\n"), imported.stderr
    assert asd("fetch", "net", ASD_OFFLINE="1").stdout == f"{store / 'net.pth'}\n"
    assert server.requests == []


def test_import_of_a_wrong_file(asd: Any, store: Path, tmp_path: Path) -> None:
    (tmp_path / "stick.pth").write_bytes(b"wrong")
    refused = asd("import", "net.pth", "stick.pth")
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        f"asd: error: stick.pth is not net.pth: its sha256 is {hashlib.sha256(b'wrong').hexdigest()}, expected "
    )
    assert not store.exists()


def test_import_by_a_component_with_several_files(asd: Any) -> None:
    refused = asd("import", "both-nets", "stick.pth")
    assert refused.stderr == ("asd: error: both-nets has several weight files: name net.pth or small.safetensors\n")


def test_import_of_a_file_that_no_component_lists(asd: Any, store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    assert asd("import", "mine.pth", "mine.pth", "--sha256", digest[:8].upper()).returncode == 0
    assert (store / digest[:8] / "mine.pth").read_bytes() == b"mine"
    refused = asd("import", "mine.pth", "mine.pth", "--sha256", "x")
    assert "weight file 'mine.pth': sha256 must be 8 to 64 hexadecimal digits, got 'x'\n" in refused.stderr
    assert refused.returncode == 2


def test_verify_finds_damage_and_says_how_to_mend_it(asd: Any, store: Path) -> None:
    assert asd("fetch", "net").returncode == 0
    good = asd("verify")
    assert good.returncode == 0
    assert "present" in good.stdout
    (store / "net.pth").write_bytes(b"spoilt")
    damaged = asd("verify")
    assert damaged.returncode == 2
    assert "damaged" in damaged.stdout
    assert (
        damaged.stderr.splitlines()[-1] == "asd: error: damaged: net.pth; fetch again with 'asd weights fetch net.pth'"
    )
    assert asd("fetch", "net.pth").returncode == 0
    assert asd("verify", "--json").returncode == 0


def test_importing_the_store_loads_no_network_library(asd: Any) -> None:
    code = "import sys, asd.files.weights; print(sorted({'requests', 'rich', 'torch', 'filelock'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
