"""What `examples/serve` names is there: commands, options, files, ports and paths; no image can be built here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

import asd
from asd.command import cli
from asd_listen import read_settings
from asd_serve.app import application

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples" / "serve"
yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that ``prepare.py`` fills, as the service of that name does."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "pump.wav").write_bytes(b"the user's own")
    subprocess.run([sys.executable, str(EXAMPLES / "prepare.py"), str(folder)], check=True)
    return folder


def parsed(words: list[str]) -> dict[str, Any]:
    """Return the parameters of a command of asd, which must take them."""
    command: click.Command = cli
    context = click.Context(cli, info_name="asd")
    while isinstance(command, click.Group) and (inner := command.get_command(context, words[0])):
        context = click.Context(inner, info_name=words[0], parent=context)
        command, words = inner, words[1:]
    command.parse_args(context, list(words))
    return dict(context.params)


def test_compose_starts_what_a_plant_needs(services: dict[str, Any]) -> None:
    assert set(services) == {"broker", "prepare", "sample", "serve"}
    command = services["serve"]["command"]
    options = parsed(command)
    assert (options["host"], options["port"], str(options["listen"])) == ("0.0.0.0", 8787, "plant.toml")
    assert services["serve"]["ports"] == ["127.0.0.1:8787:8787"]  # nobody else's computer reaches it
    assert services["serve"]["stop_grace_period"] == "60s"
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source == "./data" or (EXAMPLES / source).is_file()
    address = re.search(r"http://0\.0\.0\.0:(\d+)(\S+)", services["sample"]["command"])
    assert address is not None
    settings = tomllib.loads((EXAMPLES / "plant.toml").read_text())
    assert settings["source"][0]["url"] == f"http://sample:{address[1]}{address[2]}"
    assert settings["sink"][0]["host"] == "broker"


def test_compose_takes_the_file(tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (apt-get install docker-compose)")
    done = subprocess.run(
        [program, "-f", str(EXAMPLES / "compose.yaml"), "config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_image_holds_what_is_named(tmp_path: Path) -> None:
    text = (EXAMPLES / "Dockerfile").read_text()
    for name in re.findall(r"/source/(\S+)", text):
        assert (ROOT / name / "pyproject.toml").is_file(), name
    copied = re.search(r"^COPY (examples\S.+) /examples/$", text, re.MULTILINE)
    assert copied is not None
    assert all((ROOT / name).is_file() for name in copied[1].split())
    (check,) = re.findall(r"http://127\.0\.0\.1:8787(/\w+)", text)
    assert check in application_paths(tmp_path)
    options = parsed(json.loads(re.findall(r"^CMD (\[.+\])$", text, re.MULTILINE)[-1]))
    assert options["host"] == "0.0.0.0"


def application_paths(folder: Path) -> set[str]:
    from asd_serve.state import State

    state = State(folder, {})
    with state.stack:
        return {str(getattr(route, "path", "")) for route in application(state).routes}


def test_what_is_prepared_can_be_listened_to(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (prepared / "pump.wav").read_bytes() == b"the user's own"
    assert (prepared / "plant.toml").read_text() == (EXAMPLES / "plant.toml").read_text()
    monkeypatch.chdir(prepared)
    settings = read_settings(Path("plant.toml"))
    assert settings.source[0].name == "pump 1"
    assert asd.load(settings.model, cache=False).clips == 60


def test_the_sample_stream_is_healthy_and_then_is_not(prepared: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(EXAMPLES))
    try:
        from demo_plant import RATE, hum  # as prepare.py does
    finally:
        sys.path.remove(str(EXAMPLES))
    healthy = list(asd.score(prepared / "pump.asd", (hum(20, 97.0, 1), RATE), segment=2.0, cache=False))
    faulty = list(asd.score(prepared / "pump.asd", (hum(20, 97.0, 2, fault_from=0.0), RATE), segment=2.0, cache=False))
    assert sum(bool(each.anomalous) for each in healthy) <= 1
    assert all(each.anomalous for each in faulty)


def test_the_service_is_one_that_systemd_takes(tmp_path: Path) -> None:
    text = (EXAMPLES / "asd-serve.service").read_text()
    command = re.search(r"^ExecStart=/opt/asd/bin/asd (.+)$", text, re.MULTILINE)
    assert command is not None
    assert str(parsed(shlex.split(command[1]))["listen"]) == "/etc/asd/plant.toml"
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "asd-serve.service"
    unit.write_text(text.replace("/opt/asd/bin/asd", "/bin/true"))
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "asd-serve.service" not in done.stderr, done.stderr


def test_the_commands_of_the_page_are_there() -> None:
    text = (EXAMPLES / "README.md").read_text()
    named = re.findall(
        r"^(?:docker compose exec serve asd|docker compose run --rm serve|asd) (.+)$", text, re.MULTILINE
    )
    assert len(named) == 5
    for words in named:
        parsed(shlex.split(words))
