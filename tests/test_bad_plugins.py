"""Plugins that misbehave are named by 'asd plugins' and 'asd check', and the others go on working."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ASD = Path(os.environ["ASD_COMMAND"])
BROKEN = Path(__file__).resolve().parent / "broken"
PLUGINS = ("plugin", "copycat", "noisy", "outdated", "raising", "slow", "threaded")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a runner of 'asd' where the broken plugins are installed beside asd-sklearn."""
    site = tmp_path_factory.mktemp("site")
    for name in PLUGINS:
        info = site / f"asd_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: asd-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[asd.plugins]\n{name} = broken_{name}\n")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), str(BROKEN), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "ASD_PLUGINS": ",".join(["asd-sklearn", "asd-testing", *(f"asd-{name}" for name in PLUGINS)]),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False, env=environment)

    return run


@pytest.fixture(scope="module")
def listed(run: Run) -> list[dict[str, Any]]:
    done = run("plugins", "--json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)  # what a plugin prints is not in it
    return rows


def named(listed: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in listed if row["name"] == name)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("raising", "broken: RuntimeError: no licence key"),
        (
            "outdated",
            "broken: ModuleNotFoundError: asd.interfaces has moved: import its names from asd.plugin",
        ),
        ("nowhere", "ready"),  # a listing imports no target
        ("modern", "needs plugin contract 2, this asd-framework has 1: upgrade it"),
        ("sounddetector", "name taken: asd-plugin has one of this name; write asd-copycat:sounddetector"),
        ("gmm", "ready"),
        ("reversed", "ready"),
    ],
)
def test_the_list_names_what_is_wrong(listed: list[dict[str, Any]], name: str, state: str) -> None:
    assert named(listed, name)["state"] == state


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("of-slow", "takes "),
        ("of-noisy", "prints on import: 'hello from a plugin'"),
        ("of-threaded", "leaves a thread behind on import: left-behind"),
    ],
)
def test_the_list_remarks_on_manners(listed: list[dict[str, Any]], run: Run, name: str, remark: str) -> None:
    row = named(listed, name)
    assert [text for text in row["remarks"] if text.startswith(remark)]
    assert not [text for text in named(listed, "gmm")["remarks"] if text.startswith(remark) and name != "of-slow"]


def test_the_table_names_the_plugins_of_the_remarks(run: Run) -> None:
    done = run("plugins")
    assert "asd-noisy: prints on import: 'hello from a plugin'" in done.stdout
    assert "asd-threaded: leaves a thread behind on import: left-behind" in done.stdout
    assert "asd-slow: takes 1." in done.stdout
    assert "hello from a plugin" in done.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "nowhere",
            "'broken_components:Nowhere': AttributeError: module 'broken_components' has no attribute 'Nowhere'",
        ),
        ("nomodule", "'no_such_module:Detector': ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "outdated-target",
            "'broken_outdated:Outdated': ModuleNotFoundError: asd.interfaces has moved: import its names from "
            "asd.plugin",
        ),
    ],
)
def test_a_target_that_cannot_be_imported_is_named_when_it_is_shown_or_used(
    run: Run, tmp_path: Path, name: str, reason: str
) -> None:
    text = f"asd-plugin:{name}: cannot import its target {reason}"
    shown = run("plugins", "show", name).stdout
    assert "state:              broken: its target cannot be used" in shown
    assert text in shown
    assert json.loads(run("plugins", "show", name, "--json").stdout)["parameters_unknown"] == text
    used = run("fit", "any.wav", "-o", str(tmp_path / "m.asd"), "--detector", name, "--detector.size", "1")
    assert used.stderr.splitlines()[-1] == f"asd: error: {text}"


def test_a_lie_about_the_dimension_is_told(run: Run) -> None:
    assert "declares dimension 7, but its dimension is 5" in run("plugins", "show", "lyingextractor").stdout


CHECKED = ("asd-raising", "asd-noisy", "asd-slow", "asd-threaded", "asd-copycat", "modern", "nowhere", "lyingextractor")


@pytest.fixture(scope="module")
def checked(run: Run) -> list[dict[str, Any]]:
    done = run("check", *CHECKED, "knn", "--json")
    assert done.returncode == 1, done.stderr
    reports: list[dict[str, Any]] = json.loads(done.stdout)
    return reports


@pytest.mark.parametrize(
    ("component", "check", "reason"),
    [
        ("asd-raising", "plugin-loads", "RuntimeError: no licence key"),
        ("asd-noisy:of-noisy", "plugin-module-is-quiet", "prints 'hello from a plugin'"),
        ("asd-slow:of-slow", "plugin-module-is-light", "takes 1."),
        ("asd-threaded:of-threaded", "plugin-module-is-quiet", "leaves a thread behind: left-behind"),
        ("asd-copycat:sounddetector", "name-is-free", "the name 'sounddetector' is taken by asd-plugin:sounddetector"),
        ("asd-plugin:modern", "contract-version-is-known", "needs plugin contract 2"),
        ("asd-plugin:nowhere", "target-exists", "cannot import its target"),
        ("asd-plugin:lyingextractor", "spec-is-true", "declares dimension 7"),
    ],
)
def test_the_check_names_it(checked: list[dict[str, Any]], component: str, check: str, reason: str) -> None:
    report = next(report for report in checked if report["component"] == component)
    assert not report["ok"]
    failed = {result["check"]: result["reason"] for result in report["results"] if result["outcome"] == "failed"}
    assert reason in failed[check]


def test_checks_that_are_skipped_for_one_reason_are_one_row(run: Run) -> None:
    results = json.loads(run("check", "lacking", "--json").stdout)[0]["results"]
    others = [result["outcome"] for result in results].count("skipped") - 1
    shown = run("check", "lacking").stdout
    (row,) = (line for line in shown.splitlines() if line.strip().startswith("skipped"))
    assert f"target-exists and {others} more" in row
    assert "needs pip install 'no-such-thing'" in row
    assert f"{others + 1} skipped" in shown


def test_the_others_go_on_working(checked: list[dict[str, Any]]) -> None:
    assert next(report for report in checked if report["component"] == "asd-sklearn:knn")["counts"] == {"passed": 25}


def told(plugin: Any) -> list[str]:
    """Return the remarks on a plugin, but for how long its import takes, which is the machine's."""
    return [text for text in plugin.remarks if not text.startswith("takes ")]


def test_a_command_whose_name_is_taken_is_left_out_and_told(tmp_path: Path) -> None:
    from asd_registry import Registry

    for name in ("first", "second"):
        source = (BROKEN / "broken_copycat.py").read_text().replace("sounddetector", f"of-{name}")
        (tmp_path / f"hello_{name}.py").write_text(source)
    registry = Registry([])
    assert told(registry.add_file(tmp_path / "hello_first.py")) == []
    registry.add_file(tmp_path / "hello_second.py")
    assert told(registry.plugins[-1]) == ["its command 'hello' is left out: hello_first.py has one"]
