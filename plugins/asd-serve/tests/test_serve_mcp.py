"""``asd mcp`` by the SDK's own client, over standard input and output, as an assistant's program starts it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd_listen import Reader

pytest.importorskip("mcp", reason="the library mcp is not installed: pip install 'asd-serve[mcp]'")

import anyio
from mcp import Client, StdioServerParameters, stdio_client

ASD = os.environ["ASD_COMMAND"]
DATA = Path(__file__).resolve().parents[3] / "examples" / "data"
ALARM = "a1b2c3d4e5f60718"
"""The alarm of the fixture `history`."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "fan.asd"
    parameters: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
    asd.fit(DATA / "train", cache=False, **parameters).save(path)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    folder = tmp_path / "sound"
    (folder / "night").mkdir(parents=True)
    for number, path in enumerate(sorted((DATA / "test" / "normal").glob("*.flac"))[:2]):
        shutil.copy(path, folder / "night" / f"{number}.flac")
    shutil.copy(sorted((DATA / "test" / "anomalous").glob("*.flac"))[0], folder / "fault [a].flac")
    return folder


def ask(words: list[object], asking: Callable[[Client], Awaitable[Any]]) -> Any:
    """Start the command as an assistant's program does, and ask it."""
    named = ("ASD_SHARED", "ASD_CACHE", "ASD_PLUGINS", "PYTHONPATH", "PATH", "TMPDIR", "HOME", "ASD_COMMAND_SOCKET")
    environment = {name: os.environ[name] for name in named if name in os.environ}
    server = StdioServerParameters(command=sys.executable, args=["-m", "asd", "mcp", *map(str, words)], env=environment)

    async def run() -> Any:
        with anyio.fail_after(120):
            async with Client(stdio_client(server)) as client:
                return await asking(client)

    with ThreadPoolExecutor(1) as thread:  # a browser of other tests may have a loop in this one
        return thread.submit(anyio.run, run).result()


def calling(tool: str, **arguments: Any) -> Callable[[Client], Awaitable[Any]]:
    async def call(client: Client) -> Any:
        return await client.call_tool(tool, arguments)

    return call


def text(result: Any) -> str:
    return "\n".join(each.text for each in result.content if each.type == "text")


async def names(client: Client) -> dict[str, Any]:
    return {tool.name: tool for tool in (await client.list_tools()).tools}


def test_it_only_looks_unless_feedback_is_allowed(history: Path, model: Path, sound: Path) -> None:
    looking = ask([model, "--sound", sound, "--history", history], names)
    assert sorted(looking) == ["explain_alarm", "judge_recording", "list_events", "list_machines", "list_recordings"]
    assert all(tool.annotations.read_only_hint for tool in looking.values())
    assert all(tool.description.endswith(".") for tool in looking.values())
    assert sorted(ask(["--history", history], names)) == ["explain_alarm", "list_events", "list_machines"]
    telling = ask(["--history", history, "--allow-feedback"], names)
    assert sorted(set(telling) - set(looking)) == ["acknowledge_alarm", "judge_alarm", "note_alarm"]
    assert not any(telling[name].annotations.read_only_hint for name in set(telling) - set(looking))

    refused = ask(["--history", history], calling("judge_alarm", event=ALARM, judgement="normal"))
    assert refused.is_error
    assert "judge_alarm" in text(refused)
    with Reader(history) as reader:
        assert list(reader.rows("feedback")) == []


def test_machines_and_alarms_are_listed(history: Path) -> None:
    async def all_of_it(client: Client) -> tuple[Any, ...]:
        return (
            await client.call_tool("list_machines", {}),
            await client.call_tool("list_events", {}),
            await client.call_tool("list_events", {"severity": "info", "last": 2, "machine": "pump <1>"}),
            await client.call_tool("list_events", {"machine": "mill"}),
            await client.call_tool("list_events", {"last": 0}),
        )

    machines, alarms, last, unknown, odd = ask(["--history", history], all_of_it)
    (machine,) = machines.structured_content["result"]
    assert (machine["name"], machine["phase"]) == ("pump <1>", "not listened to")
    assert machine["last_alarm"]["id"] == ALARM
    assert [each["id"] for each in alarms.structured_content["result"]] == [ALARM]
    assert [each["kind"] for each in last.structured_content["result"]] == ["alarm", "condition"]
    assert unknown.is_error
    assert "no machine 'mill'; there are pump <1>" in text(unknown)
    assert odd.is_error
    assert "greater than or equal to 1" in text(odd)


def test_an_alarm_is_explained_with_its_picture(history: Path) -> None:
    found = ask(["--history", history], calling("explain_alarm", event=ALARM[:8]))
    facts = json.loads(text(found))
    assert facts["explanation"]["text"] == "14 dB louder at 2.1–2.6 kHz"
    assert (facts["machine"], facts["judgement"], facts["sound_kept"]) == ("pump <1>", None, True)
    (picture,) = [each for each in found.content if each.type == "image"]
    assert picture.mime_type == "image/png"
    assert base64.b64decode(picture.data).startswith(b"\x89PNG")
    unknown = ask(["--history", history], calling("explain_alarm", event="ffff"))
    assert unknown.is_error
    assert "no event with id 'ffff'" in text(unknown)


def test_recordings_of_the_folder_are_judged(model: Path, sound: Path) -> None:
    async def judged(client: Client) -> tuple[Any, ...]:
        return (
            await client.call_tool("list_recordings", {}),
            await client.call_tool("judge_recording", {"recording": "night/0.flac"}),
            await client.call_tool("judge_recording", {"recording": "fault [a].flac", "explain": True}),
        )

    listed, normal, fault = ask([model, "--sound", sound], judged)
    assert listed.structured_content["recordings"] == ["fault [a].flac", "night/0.flac", "night/1.flac"]
    assert listed.structured_content["models"] == ["fan"]
    (expected,) = asd.score(model, sound / "night" / "0.flac", cache=False)
    (clip,) = normal.structured_content["clips"]
    assert clip == {**expected.to_dict(), "clip": "night/0.flac"}
    assert fault.structured_content["explanation"]
    assert str(sound) not in text(fault)
    assert str(sound) not in text(normal)


OTHERS = (
    *(
        "../secret.flac",
        "night/../../secret.flac",
        "/etc/passwd",
        "link.flac",
        "linked/secret.flac",
        "list.csv",
        "night",
    ),
    *(".", "", "missing.flac", "night/0.flac\x00.flac", "x" * 900 + ".flac", "*.flac", "~/secret.flac"),
)


def test_no_other_file_is_opened(model: Path, sound: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.flac"
    shutil.copy(sound / "night" / "0.flac", secret)
    (sound / "link.flac").symlink_to(secret)
    (sound / "linked").symlink_to(tmp_path)
    (sound / "list.csv").write_text(f"path\n{secret}\n")

    async def tried(client: Client) -> tuple[Any, ...]:
        names = (*OTHERS, str(secret))
        answers = {name: await client.call_tool("judge_recording", {"recording": name}) for name in names}
        return answers, await client.call_tool("list_recordings", {})

    answers, listed = ask([model, "--sound", sound], tried)
    assert len(answers) == len(OTHERS) + 1
    for name, answer in answers.items():
        assert answer.is_error, name
        assert "in the folder; list_recordings lists them" in text(answer), name
    assert listed.structured_content["recordings"] == ["fault [a].flac", "night/0.flac", "night/1.flac"]


def test_what_cannot_be_judged_is_told(model: Path, sound: Path) -> None:
    (sound / "no.flac").write_bytes(b"no sound at all")
    soundfile.write(sound / "silent.wav", np.zeros(160_000), 16_000)

    async def judged(client: Client) -> tuple[Any, ...]:
        return (
            await client.call_tool("judge_recording", {"recording": "no.flac"}),
            await client.call_tool("judge_recording", {"recording": "night/0.flac", "model": "mill"}),
            await client.call_tool("judge_recording", {}),
            await client.call_tool("no_such_tool", {}),
        )

    broken, unknown, lacking, odd = ask([model, "--sound", sound], judged)
    assert "no.flac" in str(broken.structured_content["clips"][0])
    assert "no model 'mill'; there are fan" in text(unknown)
    assert lacking.is_error
    assert "recording" in text(lacking)
    assert odd.is_error


def test_feedback_reaches_the_history(history: Path) -> None:
    async def told(client: Client) -> tuple[Any, ...]:
        return (
            await client.call_tool("acknowledge_alarm", {"event": ALARM}),
            await client.call_tool("acknowledge_alarm", {"event": ALARM}),
            await client.call_tool("judge_alarm", {"event": ALARM, "judgement": "fault"}),
            await client.call_tool("judge_alarm", {"event": ALARM, "judgement": "take back"}),
            await client.call_tool("note_alarm", {"event": ALARM, "text": "<script>bearing</script>"}),
            await client.call_tool("judge_alarm", {"event": f"{0:016x}", "judgement": "fault"}),
            await client.call_tool("judge_alarm", {"event": ALARM, "judgement": "bad"}),
            await client.call_tool("note_alarm", {"event": ALARM, "text": "x" * 3000}),
            await client.call_tool("explain_alarm", {"event": ALARM}),
        )

    answers = ask(["--history", history, "--allow-feedback", "--by", "assistant of Ann"], told)
    seen, again, fault, back, note, wrong, odd, long, facts = answers
    assert text(seen) == "Acknowledged: pump <1>: alarm"
    assert "was acknowledged before; nothing to do" in text(again)
    assert text(fault).startswith("Noted: ")
    assert not back.is_error
    assert not note.is_error
    assert "is of the kind 'started'; only alarm, unlike, drift are judged" in text(wrong)
    assert odd.is_error
    assert long.is_error
    known = json.loads(text(facts))
    assert [each["text"] for each in known["notes"]] == ["<script>bearing</script>"]
    assert known["judgement"] is None
    assert [each["judgement"] for each in known["judgements"]] == ["fault", "undo"]
    with Reader(history) as reader:
        assert {row["data"]["by"] for row in reader.rows("feedback")} == {"assistant of Ann"}


NOISY = """
import os
from asd import Detector
from asd_registry import ComponentSpec, hookimpl
class Noisy(Detector):
    def fit(self, features):
        self.centre_ = features.mean(axis=0, dtype="float64")
        return self
    def score(self, features):
        print("hello from a plugin")
        os.write(1, b"hello from below\\n")
        return abs(features - self.centre_).sum(axis=1)
@hookimpl
def asd_components():
    spec = {"kind": "detector", "name": "noisy", "summary": "Prints", "licence": "MIT"}
    return [ComponentSpec(target=f"{__name__}:Noisy", **spec)]
"""


def test_what_a_plugin_prints_is_no_answer(sound: Path, tmp_path: Path) -> None:
    """Standard output belongs to the protocol, whatever prints, in Python or below it."""
    (tmp_path / "noisy.py").write_text(NOISY)
    plugin = ["--plugin-file", str(tmp_path / "noisy.py")]
    fitting = [
        "fit",
        str(DATA / "train"),
        "--extractor",
        "band-levels",
        "--detector",
        "noisy",
        "-o",
        str(tmp_path / "n.asd"),
    ]
    done = subprocess.run([ASD, *fitting, *plugin], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = ask([*plugin, tmp_path / "n.asd", "--sound", sound], calling("judge_recording", recording="night/0.flac"))
    assert not found.is_error, text(found)
    assert found.structured_content["of"] == 1


def test_it_ends_when_the_assistant_does(history: Path) -> None:
    done = subprocess.run(
        [ASD, "mcp", "--history", str(history)],
        input="not json\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "an assistant may use list_machines, list_events, explain_alarm" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "what may the assistant ask about? give --history FOLDER, or MODEL and --sound FOLDER"),
        (("a.asd",), "MODEL needs --sound FOLDER"),
        (("--sound", "."), "give --history FOLDER, or MODEL and --sound FOLDER"),
        (("--history", "nowhere"), "no such history; 'asd listen' keeps one"),
        (("missing.asd", "--sound", "."), "missing.asd: no such model file; name one that 'asd fit' wrote"),
        (("a/fan.asd", "b/fan.asd", "--sound", "."), "two models have one name"),
        (("MODEL", "--sound", "nowhere"), "nowhere: no such folder; --sound names the folder"),
        (("MODEL", "--sound", ".", "--allow-feedback"), "--allow-feedback is about alarms: give --history FOLDER, too"),
    ],
)
def test_mistakes_are_one_line(model: Path, tmp_path: Path, words: tuple[str, ...], expected: str) -> None:
    command = [ASD, "mcp", *(str(model) if word == "MODEL" else word for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.startswith("asd: error: ")
    assert done.stderr.count("\n") == 1
