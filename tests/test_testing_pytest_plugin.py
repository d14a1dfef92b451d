"""The pytest plugin: it shields where it is asked to, and otherwise leaves every run alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SEEN = """
    from asd.contract.installed import registry
    def seen():
        return {plugin.distribution for plugin in registry().plugins}
"""


def run(folder: Path, tests: str, *options: str, settings: str = "") -> str:
    """Return what pytest says of these tests; they must pass."""
    (folder / "pytest.ini").write_text(f"[pytest]\n{settings}\n")
    (folder / "test_it.py").write_text(textwrap.dedent(SEEN) + textwrap.dedent(tests))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-W", "error", "--strict-markers"]
    environment = {name: value for name, value in os.environ.items() if name != "ASD_PLUGINS"}
    done = subprocess.run(
        [*command, *options, folder], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_setting_limits_the_plugins_of_a_suite(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        AT_IMPORT = seen()
        def test_only_these():
            assert AT_IMPORT == seen() == {"asd-frontends", "asd-sklearn"}
        def test_processes_too():
            import os
            assert os.environ["ASD_PLUGINS"] == "asd-frontends,asd-sklearn"
        """,
        settings="asd_plugins = asd-frontends asd-sklearn",
    )
    assert "2 passed" in out


def test_the_marker_limits_them_for_one_test_and_its_fixtures(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        import os, pytest
        @pytest.fixture
        def at_setup():
            return seen()
        @pytest.mark.asd_plugins("asd-sklearn")
        def test_alone(at_setup):
            assert at_setup == seen() == {"asd-sklearn"}
        @pytest.mark.asd_plugins()
        def test_none_at_all():
            assert seen() == set()
        def test_the_others_see_all():
            assert seen() > {"asd-frontends", "asd-sklearn"}
            assert "ASD_PLUGINS" not in os.environ
        """,
    )


def test_a_failing_test_gives_the_plugins_back(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        import pytest
        @pytest.mark.asd_plugins("asd-sklearn")
        @pytest.mark.xfail(strict=True)
        def test_fails():
            raise AssertionError
        def test_the_next_sees_all():
            assert len(seen()) > 1
        """,
    )


def test_a_run_that_knows_nothing_of_it_is_left_alone(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        import sys
        def test_nothing_is_imported_for_it():
            assert [name for name in sys.modules if name.startswith("asd.") and name not in BEFORE] == []
        """.replace("BEFORE", "{'asd.contract', 'asd.contract.installed'}"),
    )
    assert "1 passed" in out


@pytest.mark.parametrize("module", ["asd_testing.pytest_plugin"])
def test_loading_it_imports_nothing_of_asd_but_itself(module: str) -> None:
    script = f"import sys, pytest; before = set(sys.modules); import {module}\nprint(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['asd_testing', 'asd_testing.pytest_plugin']"
