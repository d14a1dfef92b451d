"""What is shown of a listener, and the files that run it as a service."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asd_listen import view
from asd_listen.history import History
from asd_listen.levels import Second

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "listen"


def machine(name: str, phase: str = "watching", evidence: float = 1.2, condition: str = "") -> Any:
    return SimpleNamespace(
        name=name,
        second=Second(0.0, -31.0, 0.1, np.ones(3), 16000),
        monitor=SimpleNamespace(
            state=SimpleNamespace(evidence=SimpleNamespace(phase=phase)),
            threshold=5.7, evidence=evidence, needed=12 if phase == "learning" else 0, promise="1 false alarm a month",
        ),
        verdict=SimpleNamespace(p_value=0.42),
        conditions=SimpleNamespace(standing={"silence": condition} if condition else {}),
        scorer=SimpleNamespace(seconds=10.0, hop=1.0),
        feed=SimpleNamespace(source=SimpleNamespace(origin="source 'microphone' of asd-listen 0.1.0")),
    )  # fmt: skip


def test_the_table_fits_80_columns_and_cuts_no_name() -> None:
    from rich.console import Console

    names = ["pump 1", "compressor in hall 7, north side, behind the gate " * 2, "[red]x[/red]\x1b[2J"]
    machines = [
        machine(names[0], "alarm", 5.9),
        machine(names[1], "learning", 0.0),
        machine(names[2], condition="digital silence: is the microphone connected?"),
    ]
    said = view.Said(echo=False)
    said("pump 1: the sound has changed", "alarm")
    sinks = SimpleNamespace(states=lambda: [SimpleNamespace(name="mqtt", waiting=3, error="broker is down")])
    listener: Any = SimpleNamespace(machines=machines, latency=0.1, clips=123, outbox=sinks)
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - it is recorded
    console.print(view.table(listener, said))
    text = console.export_text()
    console.file.close()
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for words in (
        "ALARM, p = 0.42",
        "5.9/5.7",
        "-31 dB",
        "learning, 2 min to",
        "digital silence",
        "[red]x[/red]",
    ):
        assert words in flat, text
    assert "3 events wait: broker is down" in flat
    assert "pump 1: the sound has changed" in flat
    assert "\x1b" not in text


def test_what_is_said_at_the_start() -> None:
    found = list(view.opening([machine("pump 1", "learning")], 0.2))
    assert found == [
        "pump 1: source 'microphone' of asd-listen 0.1.0; clips of 10 s, one every 1 s",
        "  decision: 0.2 s after a clip ends; the evidence counts clips that share no sound, one every 10 s",
        "  promise: 1 false alarm a month in sound that is watched",
        "  phase: learning: 12 more healthy clips, 2 min, until an alarm is possible",
    ]


def test_lines_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    view.Said(echo=True)("a\nb\x1b[2Jc", "alarm")
    assert capsys.readouterr().out.endswith(" ALARM: a b [2Jc\n")


def test_the_service_is_one_that_systemd_takes(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    text = (EXAMPLES / "asd-listen.service").read_text()
    (tmp_path / "asd-listen.service").write_text(text.replace("/opt/asd/bin/asd", "/bin/true"))
    done = subprocess.run(
        [program, "verify", str(tmp_path / "asd-listen.service")], capture_output=True, text=True, check=False
    )
    assert "asd-listen.service" not in done.stderr, done.stderr


def test_compose_and_home_assistant_have_their_form() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]
    assert set(services) == {"broker", "sample", "listen"}
    assert (EXAMPLES / "mosquitto.conf").is_file()
    assert services["listen"]["build"]["dockerfile"] == "examples/listen/Dockerfile"
    (automation,) = yaml.safe_load((EXAMPLES / "home-assistant.yaml").read_text())["automation"]
    assert automation["triggers"][0]["topic"] == "asd/+/event"
    assert yaml.safe_load((EXAMPLES / "grafana" / "datasource.yaml").read_text())["datasources"][0]["uid"] == "asd"


def test_compose_takes_the_file() -> None:
    """By Compose's own schema; it needs no daemon for that."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (apt-get install docker-compose)")
    words = [program, "-f", str(EXAMPLES / "compose.yaml"), "config"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_compose_and_settings_name_the_same_places() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source == "./data" or (EXAMPLES / source).is_file()
    assert (EXAMPLES / services["listen"]["build"]["context"] / services["listen"]["build"]["dockerfile"]).is_file()
    assert services["listen"]["command"] == ["listen", "plant.toml"]
    assert (EXAMPLES / "plant.toml").is_file()


def test_the_image_holds_what_is_named() -> None:
    """As far as that can be told where no docker is: folders that are built, a user that is not root, the signal."""
    text = (EXAMPLES / "Dockerfile").read_text()
    root = EXAMPLES.parents[1]
    folders = re.findall(r"/source(/\S+)?(?=[ \n\\])", text)
    assert len(folders) >= 5
    assert all((root / folder.strip("/") / "pyproject.toml").is_file() for folder in folders if folder)
    instructions = re.findall(r"^([A-Z]+) (.+)$", text, re.MULTILINE)
    known = {"FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions} <= known
    last = dict(instructions)
    assert json.loads(last["ENTRYPOINT"]) == ["asd"]
    assert json.loads(last["CMD"]) == ["listen", "plant.toml"]
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert not last["USER"].startswith(("0", "root"))


def test_the_queries_of_the_dashboard_fit_a_history(tmp_path: Path) -> None:
    history = History.open(tmp_path / "history.sqlite")
    history.machine("pump 1")
    history.levels("pump 1", 1000.0, 60.0, {1000.0: (-40.0, -30.0)}, -35.0)
    history.close()
    dashboard = json.loads((EXAMPLES / "grafana" / "dashboard.json").read_text())
    queries = [target["rawQueryText"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [each["query"] for each in dashboard["templating"]["list"]]
    connection = sqlite3.connect(tmp_path / "history.sqlite")
    found = []
    for query in queries:
        asked = query.replace("$machine", "pump 1").replace("$__from", "0").replace("$__to", "2000000")
        found.append(connection.execute(asked).fetchall())
    connection.close()
    assert found == [[], [(1000.0, -35.0)], [], [("pump 1",)]]
