"""The kit itself: its report, its three surfaces, and what it says of what it cannot check."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from asd.contract.interfaces import Detector
from asd.errors import ConfigError, PluginError
from asd.records import Float32, Float64
from asd.testing import Report, Result, check_component, checks
from asd_testing import kit

ASD = Path(os.environ["ASD_COMMAND"])
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "own_detector.py"


class Distance(Detector):
    def __init__(self, *, power: float = 2.0) -> None:
        self.power = power

    def fit(self, features: Float32) -> Self:
        self.centre_ = features.mean(axis=0, dtype=np.float64)
        return self

    def score(self, features: Float32) -> Float64:
        return (np.abs(features - self.centre_) ** self.power).sum(axis=1)


class WrongWay(Distance):
    def score(self, features: Float32) -> Float64:
        return -super().score(features)


def test_a_class_that_no_plugin_offers_is_checked_for_all_but_its_registration() -> None:
    report = check_component(Distance)
    assert report.ok
    assert (report.component, report.kind) == ("Distance", "detector")
    assert {result.reason for result in report.of("skipped")} == {"not registered: no plugin offers it"}
    assert len(report.of("passed")) >= 17
    report.raise_for_failures()


def test_an_instance_is_checked_with_its_parameters() -> None:
    report = check_component(Distance(power=-1.0))
    assert [result.check for result in report.of("failed")] == ["anomalies-score-higher"]
    assert "turn the sign" in report.of("failed")[0].reason


def test_a_failure_names_the_check_and_the_mend() -> None:
    with pytest.raises(AssertionError, match="anomalies-score-higher: failed: the AUC on generated machine sound is"):
        check_component(WrongWay).raise_for_failures()


def test_expected_failures_count_apart_and_need_to_fail() -> None:
    report = check_component(WrongWay, expected_failures={"anomalies-score-higher": "kept for a comparison"})
    assert report.ok
    assert report.of("expected failure")[0].reason == "kept for a comparison"
    report = check_component(Distance, expected_failures={"memory-stays": "leaks, known"})
    assert not report.ok
    assert report.of("failed")[0].reason == (
        "expected to fail (leaks, known), but passes: remove it from expected_failures"
    )


@pytest.mark.parametrize(
    ("expected", "text"),
    [({"memory": "leaks"}, "there is no check 'memory' here; known: plugin-module-is-light"),
     ({"memory-stays": " "}, "memory-stays needs a reason")],
)  # fmt: skip
def test_expected_failures_name_a_check_and_a_reason(expected: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        check_component(Distance, expected_failures=expected)


def test_what_is_no_component_is_refused() -> None:
    with pytest.raises(ConfigError, match="dict is no component: derive it from Frontend, Extractor, Detector"):
        check_component(dict)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="unknown component 'gmmm'; did you mean gmm"):
        check_component("gmmm")


def test_no_check_is_no_success() -> None:
    assert not Report("x", "detector", ()).ok
    assert not Report("x", "detector", (Result("a", "skipped", "no weights"),)).ok
    assert Report("x", "detector", (Result("a", "passed"), Result("b", "skipped", "no weights"))).ok
    assert str(Report("x", "detector", ())) == "x (detector): no check ran"


def test_every_check_says_its_promise_in_a_sentence() -> None:
    for check in checks():
        assert check.promise.endswith("."), check.name
        assert "\n" not in check.promise
    assert len(checks("detector")) >= 25


def test_its_modules_import_each_other_without_a_circle() -> None:
    found = re.compile(r"^ *from asd_testing(?:\.| import )(\w+)", re.MULTILINE)
    paths = [path for path in Path(kit.__file__).parent.glob("*.py") if path.stem != "__init__"]
    imports = {path.stem: set(found.findall(path.read_text())) for path in paths}
    assert imports["kit"] >= {"errors", "report", "under_test"}
    assert list(TopologicalSorter(imports).static_order())


def asd(*arguments: str | Path, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [ASD, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_command_checks_a_file_and_counts() -> None:
    out = asd("check", EXAMPLE, code=0, ASD_PLUGINS="asd-testing").stdout
    assert "own_detector.py:distance (detector)" in out
    assert "OK: " in out
    assert " passed" in out


def test_the_command_fails_with_exit_code_1_and_json(tmp_path: Path) -> None:
    file = tmp_path / "wrong_way.py"
    file.write_text(EXAMPLE.read_text().split("@hookimpl")[0].replace("return abs(", "return -abs("))
    reports: list[dict[str, Any]] = json.loads(asd("check", file, "--json", code=1, ASD_PLUGINS="asd-testing").stdout)
    assert [report["component"] for report in reports] == ["Distance"]
    assert reports[0]["counts"]["failed"] == 1
    failed = [result for result in reports[0]["results"] if result["outcome"] == "failed"]
    assert failed[0]["check"] == "anomalies-score-higher"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "name what to check (a component, a distribution or a file), or use --all"),
        (["gmm", "--all"], "name what to check"),
        (["no-such-thing"], "unknown component 'no-such-thing'"),
        (["no_such_file.py"], "no_such_file.py: cannot be imported: FileNotFoundError"),
        (["asd-sklearn", "--kind", "extractor"], "there is no extractor to check"),
    ],
)
def test_the_command_refuses_with_exit_code_2(arguments: list[str], text: str) -> None:
    assert text in asd("check", *arguments, code=2).stderr


def test_parametrize_makes_an_item_of_each_component_and_check(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_conformance.py").write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(EXAMPLE.parent)!r})
            from own_detector import Distance
            from asd.testing import parametrize_with_checks

            class WrongWay(Distance):
                def score(self, features):
                    return -super().score(features)

            @parametrize_with_checks([Distance])
            def test_sound(check):
                check()

            @parametrize_with_checks([WrongWay], expected_failures={{"anomalies-score-higher": "known"}})
            def test_known(check):
                check()

            @parametrize_with_checks([WrongWay])
            def test_wrong(check):
                check()
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "-W", "error", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    count = len(checks("detector"))
    assert "test_sound[Distance-anomalies-score-higher]" in done.stdout
    assert "1 failed" in done.stdout
    assert "1 xfailed" in done.stdout
    assert "FAILED test_conformance.py::test_wrong[WrongWay-anomalies-score-higher]" in done.stdout
    counted = [word for word in done.stdout.splitlines()[-1].replace(",", "").split() if word.isdigit()]
    assert sum(map(int, counted)) == 3 * count


def test_nothing_to_check_is_an_error_when_tests_are_collected() -> None:
    from asd.testing import parametrize_with_checks

    with pytest.raises(ConfigError, match="no component was given; zero checks show nothing"):
        parametrize_with_checks([])
