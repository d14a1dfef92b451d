"""Discovery: real distributions on the path, one of them broken in every way that we know."""

from __future__ import annotations

import importlib
import importlib.metadata
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asd_registry import API_VERSION, PluginError, Registry, RenamedWarning
from asd_registry.discovery import load_target
from asd_registry.files import remedy
from asd_registry.known import KNOWN_DISTRIBUTIONS, distribution_of
from asd_registry.renamed import former_names_allowed
from waiting import until

Install = Callable[..., None]

GOOD = """
    from asd_registry import CommandSpec, ComponentSpec, hookimpl

    @hookimpl
    def asd_components():
        yield ComponentSpec(kind="detector", name="{name}", summary="A detector", licence="MIT",
                            target="{target}", requires={requires!r}, alternative={alternative!r},
                            api_version={api_version})

    @hookimpl
    def asd_commands():
        return [CommandSpec(name="{name}-command", summary="A command", target="{target}")]
"""


def plugin_source(
    name: str = "nice",
    target: str = "decimal:Decimal",
    requires: tuple[str, ...] = (),
    alternative: str | None = None,
    api_version: int = API_VERSION,
) -> str:
    return textwrap.dedent(GOOD).format(
        name=name, target=target, requires=requires, alternative=alternative, api_version=api_version
    )


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that lays a distribution with one plugin module on the import path.

    What was imported is forgotten afterwards: another test's plugin may have a module of the same name.
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    laid: list[str] = []

    def install(distribution: str, source: str, version: str = "1.0") -> None:
        module = distribution.replace("-", "_") + "_plugin"
        laid.append(module)
        sys.modules.pop(module, None)
        importlib.invalidate_caches()
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[asd.plugins]\n{distribution} = {module}\n")

    yield install
    for module in laid:
        sys.modules.pop(module, None)


@pytest.fixture(autouse=True)
def only_installed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_PLUGINS", "good,other,broken")


def test_finds_components_and_commands_with_their_distribution(install: Install) -> None:
    install("good", plugin_source(), version="2.5")
    registry = Registry()
    component = registry.find("detector", "nice")
    assert (component.plugin.distribution, component.plugin.version) == ("good", "2.5")
    assert component.qualified_name == "good:nice"
    assert component.problem is None
    assert registry.commands["nice-command"][0].summary == "A command"


BROKEN = {
    "raises on import": ("raise RuntimeError('no licence key')", "RuntimeError: no licence key"),
    "exits on import": ("import sys; sys.exit('bye')", "SystemExit: bye"),
    "imports what is absent": ("import nonsense_module", "ModuleNotFoundError: No module named 'nonsense_module'"),
    "unknown hook": (
        "from asd_registry import hookimpl\n@hookimpl\ndef asd_componets(): return []",
        "PluginValidationError: unknown hook 'asd_componets' in plugin <module 'broken_plugin'",
    ),
    "wrong hook signature": (
        "from asd_registry import hookimpl\n@hookimpl\ndef asd_components(what): return []",
        "PluginValidationError: Plugin 'broken:broken' for hook 'asd_components'; hookimpl definition: "
        "asd_components(what); Argument(s) {'what'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "hook raises": (
        "from asd_registry import hookimpl\n@hookimpl\ndef asd_components(): raise KeyError('x')",
        "KeyError: 'x' (hook asd_components at broken_plugin.py:2)",
    ),
    "hook exits": (
        "from asd_registry import hookimpl\n@hookimpl\ndef asd_commands(): raise SystemExit(3)",
        "SystemExit: 3 (hook asd_commands at broken_plugin.py:2)",
    ),
    "its second hook raises": (
        plugin_source("first").replace("return [", "return 1 / 0, ["),
        "ZeroDivisionError: division by zero (hook asd_commands at broken_plugin.py:",
    ),
    "hook returns something else": (
        "from asd_registry import hookimpl\n@hookimpl\ndef asd_components(): return ['gmm']",
        "TypeError: hook asd_components must return ComponentSpec objects, got 'gmm'",
    ),
    "hook returns nothing": (
        "from asd_registry import hookimpl\n@hookimpl\ndef asd_components(): pass",
        "TypeError: hook asd_components must return ComponentSpec objects, got None",
    ),
    "bad spec": (
        "from asd_registry import *\n@hookimpl\ndef asd_components():\n"
        "    yield ComponentSpec(kind='detektor', name='x', summary='s', target='a:B', licence='MIT')",
        "ValueError: component 'x': kind must be one of frontend, extractor, detector, dataset, source, sink, engine, ",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_a_row_and_the_others_go_on(install: Install, case: str) -> None:
    source, reason = BROKEN[case]
    install("broken", source)
    install("good", plugin_source())
    registry = Registry()
    errors = {plugin.distribution: plugin.error for plugin in registry.plugins}
    assert errors["good"] is None
    assert reason in (errors["broken"] or "")
    assert [c.spec.name for c in registry.components] == ["nice"]


WRAPPER = """
    from dataclasses import replace

    from asd_registry import CommandSpec, hookimpl

    @hookimpl(wrapper=True)
    def asd_components():
        results = yield
        return [[replace(spec, summary=spec.summary + {added}) for spec in specs] for specs in results]

    @hookimpl
    def asd_commands():
        return [CommandSpec(name="wrapping", summary="s", target="decimal:Decimal")]
"""


def test_what_a_plugin_offers_passes_through_the_wrappers_of_others(install: Install) -> None:
    install("good", plugin_source())
    install("other", WRAPPER.format(added="', wrapped'"))
    registry = Registry()
    assert [plugin.error for plugin in registry.plugins] == [None, None]
    assert registry.find("detector", "nice").spec.summary == "A detector, wrapped"
    assert set(registry.commands) == {"nice-command", "wrapping"}


def test_a_wrapper_that_fails_breaks_its_own_plugin_alone(install: Install) -> None:
    install("broken", WRAPPER.format(added="1"))
    install("good", plugin_source())
    install("other", WRAPPER.format(added="', wrapped'").replace("wrapping", "other"))
    registry = Registry()
    errors = {plugin.distribution: plugin.error or "" for plugin in registry.plugins}
    assert errors["broken"].startswith("TypeError: can only concatenate str")
    assert errors["broken"].endswith("(hook asd_components at broken_plugin.py:6)")
    assert errors["good"] == errors["other"] == ""
    assert registry.find("detector", "nice").spec.summary == "A detector, wrapped"
    assert set(registry.commands) == {"nice-command", "other"}


@pytest.mark.parametrize(("mark", "first"), [("", "broken"), ("(tryfirst=True)", "good"), ("(trylast=True)", "broken")])
def test_of_two_commands_of_one_name_the_hook_called_first_gives_it(install: Install, mark: str, first: str) -> None:
    install("broken", plugin_source())
    install("good", plugin_source(target="fractions:Fraction").replace("@hookimpl", f"@hookimpl{mark}"))
    registry = Registry()
    assert registry.commands["nice-command"][1].distribution == first
    slow = "takes "  # long to import: that is the machine's
    remarks = {
        plugin.distribution: tuple(text for text in plugin.remarks if not text.startswith(slow))
        for plugin in registry.plugins
    }
    (left_out,) = {"broken", "good"} - {first}
    assert remarks == {first: (), left_out: (f"its command 'nice-command' is left out: {first} has one",)}


def test_a_plugin_that_prints_leaves_stdout_clean(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("good", "print('hello from a plugin')\n" + plugin_source())
    assert Registry().find("detector", "nice")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello from a plugin" in captured.err


def test_a_name_clash_asks_for_the_qualified_name(install: Install) -> None:
    install("good", plugin_source())
    install("other", plugin_source(target="fractions:Fraction"))
    registry = Registry()
    with pytest.raises(PluginError, match=r"detector 'nice' is offered more than once: write good:nice or other:nice"):
        registry.find("detector", "nice")
    assert registry.find("detector", "other:nice").spec.target == "fractions:Fraction"


RENAMED = """
    from asd_registry import ComponentSpec, hookimpl

    @hookimpl
    def asd_components():
        yield ComponentSpec(kind="detector", name="fine", aliases={aliases}, summary="A detector", licence="MIT",
                            target="decimal:Decimal")
        yield ComponentSpec(kind="detector", name="nice", summary="A detector", licence="MIT", target="decimal:Context")
"""


def test_a_former_name_finds_the_component_with_a_warning(install: Install) -> None:
    install("good", RENAMED.format(aliases=("grand", "great")))
    registry = Registry()
    assert [component.spec.name for component in registry.of_kind()] == ["fine", "nice"]
    for former in ("grand", "good:great"):
        text = f"^detector '{former.removeprefix('good:')}' is now called 'fine'$"
        with pytest.warns(RenamedWarning, match=text):
            assert registry.find("detector", former).qualified_name == "good:fine"
    with former_names_allowed():  # as in a model file
        assert registry.find("detector", "grand").spec.name == "fine"
    with pytest.raises(PluginError, match=r"unknown detector 'gret'; did you mean fine\?"):
        registry.find("detector", "gret")


def test_a_name_of_ours_never_means_a_stranger_s(install: Install) -> None:
    install("good", plugin_source(name="knn"))
    registry = Registry()
    missing = "detector 'knn' is not installed: pip install asd-sklearn; another one of this name is good:knn"
    with pytest.raises(PluginError, match=f"^{missing}$"):
        registry.find("detector", "knn")
    strangers = registry.find("detector", "good:knn")
    assert registry.taken_by(strangers) == ["asd-sklearn:knn"]


NEEDING = """
    from asd_registry import ComponentSpec, hookimpl

    @hookimpl
    def asd_components():
        common = dict(summary="s", licence="MIT", target="decimal:Decimal")
        yield ComponentSpec(kind="frontend", name="{frontend}", **common)
        yield ComponentSpec(kind="extractor", name="{name}", frontend="{needs}", **common)
"""


@pytest.mark.parametrize(
    ("frontend", "needs", "expected"),
    [
        ("own-mel", "own-mel", "good:own-mel"),  # the other plugin has one of this name
        ("mel-patch", "mel-patch", "good:mel-patch"),  # and the name of one of ours is not theirs
        ("only-here", "only-here", "only-here"),
        ("only-here", "other:own-mel", "other:own-mel"),
        ("only-here", "nowhere", "nowhere"),
    ],
)
def test_a_spec_names_the_front_end_of_its_own_distribution_first(
    install: Install, frontend: str, needs: str, expected: str
) -> None:
    install("good", NEEDING.format(frontend=frontend, name="net", needs=needs))
    install("other", NEEDING.format(frontend="own-mel", name="other-net", needs="own-mel"))
    registry = Registry()
    assert registry.default_of(registry.find("extractor", "net"), "frontend") == expected
    assert registry.default_of(registry.find("extractor", "net"), "extractor") is None


def test_who_borrows_a_module_of_ours_does_not_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASD_PLUGINS")
    (ours,) = importlib.metadata.entry_points(group="asd.plugins", name="sklearn")
    borrowed = importlib.metadata.EntryPoint("zzz", ours.value, ours.group)
    errors = {plugin.distribution: plugin.error for plugin in Registry([borrowed, ours]).plugins}
    assert errors["asd-sklearn"] is None
    assert "registered" in (errors["unknown"] or "")


@pytest.mark.parametrize(
    ("distribution", "text"),
    [
        ("asd-sklearn", "pip install asd-sklearn"),
        ("own_detector.py", "add --plugin-file own_detector.py"),
        ("asd-elsewhere", "install 'asd-elsewhere' if you know and trust it"),
        ("x; curl evil | sh", "'x; curl evil | sh' is no name of a distribution"),
        ("x; curl evil.py", "'x; curl evil.py' is no name of a distribution"),
        ("--index-url=evil", "'--index-url=evil' is no name of a distribution"),
        ("a\x1b[2J", r"'a\x1b[2J' is no name of a distribution"),
        ("", "'' is no name of a distribution"),
    ],
)
def test_only_our_own_distributions_get_a_command(distribution: str, text: str) -> None:
    assert remedy(distribution) == text


@pytest.mark.parametrize("requirement", ["x @ https://evil.example/x.whl", "x; curl evil | sh", "--index-url=evil x"])
def test_a_requirement_that_is_no_plain_name_gets_no_command(install: Install, requirement: str) -> None:
    install("good", plugin_source(requires=(requirement,)))
    assert Registry().find("detector", "nice").problem == f"needs the requirement {requirement!r}"


def test_a_name_must_be_text() -> None:
    with pytest.raises(PluginError, match=r"^a detector is chosen by its name, got 3$"):
        Registry([]).find("detector", 3)  # type: ignore[arg-type]


def test_an_alarm_of_the_program_stays_and_threads_load_without_one(install: Install) -> None:
    install("good", plugin_source())
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert Registry().plugins[0].error is None
        until(lambda: rang, "the alarm")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rang == [1]
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(Registry().plugins[0].error))
    thread.start()
    thread.join()
    assert found == [None]
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_former_name_may_clash_too(install: Install) -> None:
    install("good", RENAMED.format(aliases=("grand",)))
    install("other", plugin_source(name="grand"))
    registry = Registry()
    with pytest.raises(PluginError, match=r"'grand' is offered more than once: write good:fine or other:grand"):
        registry.find("detector", "grand")
    fine, grand = registry.find("detector", "fine"), registry.find("detector", "other:grand")
    assert (registry.taken_by(fine), registry.taken_by(grand)) == (["other:grand"], ["good:fine"])


def test_a_component_that_moved_is_found_by_its_former_distribution(install: Install) -> None:
    install("good", RENAMED.format(aliases=("other:nice", "other:grand", "gone:fine")))
    install("other", plugin_source(target="fractions:Fraction"))
    registry = Registry()
    assert registry.find("detector", "other:nice").qualified_name == "other:nice"  # it is still there
    for former in ("other:grand", "gone:fine"):
        with pytest.warns(RenamedWarning, match=f"^detector '{former}' is now called 'good:fine'$"):
            assert registry.find("detector", former).qualified_name == "good:fine"
    assert (registry.offers("detector", "gone:fine"), registry.offers("detector", "gone:nice")) == (True, False)
    with former_names_allowed():  # as in a model file
        assert registry.find(None, "gone:fine").spec.name == "fine"
    assert registry.taken_by(registry.find("detector", "good:fine")) == []
    with pytest.raises(PluginError, match=r"unknown detector 'grand'"):  # as a short name it never was good's
        registry.find("detector", "grand")
    with pytest.raises(PluginError, match=r"extractor 'gone:fine' is not installed: install 'gone' if you know and"):
        registry.find("extractor", "gone:fine")


def test_two_that_claim_to_have_moved_from_one_name_clash(install: Install) -> None:
    install("good", RENAMED.format(aliases=("gone:thing",)))
    install("other", RENAMED.format(aliases=("gone:thing",)))
    with pytest.raises(PluginError, match=r"'gone:thing' is offered more than once: write good:fine or other:fine"):
        Registry().find("detector", "gone:thing")


def test_what_is_ours_has_moved_to_no_stranger(install: Install) -> None:
    install("good", RENAMED.format(aliases=("asd-sklearn:knn",)))
    registry = Registry()
    with pytest.raises(PluginError, match=r"^detector 'asd-sklearn:knn' is not installed: pip install asd-sklearn$"):
        registry.find("detector", "asd-sklearn:knn")
    assert not registry.offers("detector", "asd-sklearn:knn")
    install("asd-autoencoder", RENAMED.format(aliases=("asd-sklearn:knn",)))
    with former_names_allowed():
        assert ours("asd-autoencoder").find("detector", "asd-sklearn:knn").qualified_name == "asd-autoencoder:fine"


def ours(distribution: str) -> Registry:
    """Return a registry of what the test installed under the name of a distribution of ours."""
    found = importlib.metadata.distribution(distribution)
    return Registry(list(found.entry_points))


@pytest.mark.parametrize(
    ("aliases", "reason"),
    [
        (("gone:x", "gone:x"), "component 'fine': aliases must be other names than its own, got ('gone:x', 'gone:x')"),
        (("nice",), "offers detector 'nice' more than once, by name or alias"),
        (("fine",), "component 'fine': aliases must be other names than its own, got ('fine',)"),
        (
            ("Grand",),
            "component 'fine': aliases must be a tuple of names, or distribution:name, of lower-case letters, digits, "
            "'.', '_' or '-', got ('Grand',)",
        ),
    ],
)
def test_bad_aliases_break_the_plugin(install: Install, aliases: tuple[str, ...], reason: str) -> None:
    install("broken", RENAMED.format(aliases=aliases))
    assert Registry().plugins[0].error == f"ValueError: {reason} (hook asd_components at broken_plugin.py:4)"


def test_unknown_names_get_close_matches_or_the_pip_command(install: Install) -> None:
    install("good", plugin_source())
    registry = Registry()
    with pytest.raises(PluginError, match=r"unknown detector 'nise'; did you mean nice\?"):
        registry.find("detector", "nise")
    with pytest.raises(PluginError, match=r"unknown detector 'qqq'; known: nice \('asd plugins' lists all\)"):
        registry.find("detector", "qqq")
    with pytest.raises(PluginError, match=r"detector 'gmm' is not installed: pip install asd-sklearn"):
        registry.find("detector", "gmm")
    with pytest.raises(PluginError, match=r"'elsewhere:thing' is not installed: install 'elsewhere' if you know and"):
        registry.find("extractor", "elsewhere:thing")
    assert registry.unknown_command("scor", ["score", "fit"]) == "unknown command 'scor'; did you mean score?"
    assert registry.unknown_command("serve", ["score"]) == "command 'serve' is not installed: pip install asd-serve"


def test_a_component_of_a_broken_plugin_names_the_cause(install: Install) -> None:
    install("broken", "raise OSError('disk gone')")
    with pytest.raises(PluginError, match=r"plugin broken is broken: OSError: disk gone"):
        Registry().find("detector", "broken:thing")


def test_missing_requirement_and_newer_contract_are_states(install: Install) -> None:
    install("good", plugin_source(requires=("numpy>=1", "no-such-thing>=3; python_version>'3'")))
    install("other", plugin_source(name="modern", api_version=API_VERSION + 1))
    registry = Registry()
    lacking = registry.find("detector", "nice")
    assert lacking.problem is not None
    assert "needs pip install" in lacking.problem
    assert "no-such-thing>=3" in lacking.problem
    assert "numpy" not in lacking.problem
    with pytest.raises(PluginError, match=r"detector 'nice' cannot run: needs pip install"):
        load_target(lacking)
    assert registry.find("detector", "modern").problem == (
        f"needs plugin contract {API_VERSION + 1}, this asd-framework has {API_VERSION}: upgrade it"
    )


def test_a_target_that_is_not_there_is_named(install: Install) -> None:
    install("good", plugin_source(target="decimal:Decimale"))
    with pytest.raises(PluginError, match=r"good:nice: cannot import its target 'decimal:Decimale': AttributeError"):
        load_target(Registry().find("detector", "nice"))


def test_asd_plugins_limits_what_loads(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("good", plugin_source())
    install("other", "raise RuntimeError('must not be imported')")
    monkeypatch.setenv("ASD_PLUGINS", "good")
    assert [(p.distribution, p.error) for p in Registry().plugins] == [("good", None)]
    monkeypatch.setenv("ASD_PLUGINS", "")
    assert Registry().plugins == []


def test_entry_points_can_be_given() -> None:
    entry_point = importlib.metadata.EntryPoint("mine", "no_such_module_at_all", "asd.plugins")
    assert Registry([entry_point]).plugins[0].error == "ModuleNotFoundError: No module named 'no_such_module_at_all'"


@pytest.mark.parametrize("field", ["preset=[1]", "weights='x'", "aliases=3", "shape='x'", "dimension=2"])
def test_a_spec_of_wrong_types_breaks_its_plugin_alone(install: Install, field: str) -> None:
    install("broken", plugin_source("bad").replace('licence="MIT"', f'licence="MIT", **dict({field})'))
    install("good", plugin_source())
    errors = {plugin.distribution: plugin.error or "" for plugin in Registry().plugins}
    assert errors["good"] == ""
    assert errors["broken"].startswith("ValueError: component 'bad': ")
    assert errors["broken"].endswith("(hook asd_components at broken_plugin.py:4)")


def test_a_missing_requirement_is_told_with_what_does_without(install: Install) -> None:
    install("good", plugin_source(requires=("no-such-thing",), alternative="plain"))
    with pytest.raises(PluginError) as raised:
        load_target(Registry().find("detector", "nice"))
    assert str(raised.value) == (
        "detector 'nice' cannot run: needs pip install 'no-such-thing'; or use plain, which does the same without"
    )


def test_the_pip_command_of_every_component_of_ours_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASD_PLUGINS")
    folders = (Path(__file__).resolve().parent.parent / "plugins").iterdir()
    ours = [c for c in Registry().components if c.plugin.distribution in {folder.name for folder in folders}]
    wrong = [
        c.qualified_name
        for c in ours
        for name in c.spec.names
        if distribution_of(name, c.spec.kind) != c.plugin.distribution
    ]
    assert ours
    assert wrong == []


def test_the_commands_of_ours_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from asd.cli.main import _COMMANDS

    assert set(KNOWN_DISTRIBUTIONS["asd-framework"]["command"].split()) == set(_COMMANDS)
    monkeypatch.delenv("ASD_PLUGINS")
    ours = {name: plugin for name, (_, plugin) in Registry().commands.items() if plugin.is_ours}
    assert {name: distribution_of(name, "command") for name in ours} == {n: p.distribution for n, p in ours.items()}
    assert {"bench", "check", "data"} <= set(ours)
