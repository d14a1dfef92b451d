"""What ``asd plugins`` says a component needs here and now: "ready" only for what runs at once, offline."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asd.contract import installed
from asd.contract.create import create
from asd.contract.installed import registry
from asd.errors import ConfigError
from asd.files.readiness import READY, state_of
from asd_registry import PIPELINE_KINDS

ASD = Path(os.environ["ASD_COMMAND"])
SHA256 = "0" * 64
WEIGHT = f'WeightFile(name="net.onnx", licence="MIT", sha256="{SHA256}", size=2_500_000, url="https://a.example/n")'
UNSIZED = f'WeightFile(name="net.onnx", licence="MIT", sha256="{SHA256}", url="https://a.example/n")'
EMBEDDED = f'WeightFile(name="net.onnx", licence="MIT", sha256="{SHA256}", size=4)'

PLUGIN = """
from asd_registry import ComponentSpec, WeightFile, hookimpl

@hookimpl
def asd_components():
    yield ComponentSpec(kind="extractor", name="net", summary="A network", licence="MIT",
                        target="trial_package:Net", {fields})
    yield ComponentSpec(kind="frontend", name="needy", summary="A front end", licence="MIT",
                        target="trial_package:Needy", needs=("length",))
"""

State = Callable[..., str]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """Return a function that installs an extractor with these fields of its spec and returns its state."""
    monkeypatch.setenv("ASD_PLUGINS", "trial")
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two states within a second would have one cached module
    (tmp_path / "trial_package" / "weights").mkdir(parents=True)
    (tmp_path / "trial_package" / "__init__.py").write_text("raise RuntimeError('a listing must not import this')\n")
    info = tmp_path / "trial-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trial\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asd.plugins]\ntrial = trial_plugin\n")

    def state(fields: str) -> str:
        (tmp_path / "trial_plugin.py").write_text(PLUGIN.format(fields=fields))
        sys.modules.pop("trial_plugin", None)
        installed._registry.cache_clear()
        importlib.invalidate_caches()
        if error := registry().plugins[0].error:
            return error
        return state_of(registry().find("extractor", "net"))

    yield state
    installed._registry.cache_clear()
    sys.modules.pop("trial_plugin", None)


def put(place: Path, size: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"x" * size)


def test_a_component_that_needs_nothing_is_ready(state: State) -> None:
    assert state("") == READY == "ready"


@pytest.mark.parametrize(
    ("requires", "text"),
    [
        (("numpy>=1",), "ready"),
        (("no-such-thing>=3",), "needs pip install 'no-such-thing>=3'"),
        (("numpy>=99",), f"needs pip install 'numpy>=99' (installed: numpy {importlib.metadata.version('numpy')})"),
        (("numpy>=1", "no-such", "also-not"), "needs pip install 'no-such' 'also-not'"),
        (("x @ https://evil.example/x.whl",), "needs the requirement 'x @ https://evil.example/x.whl'"),
    ],
)
def test_requirements(state: State, requires: tuple[str, ...], text: str) -> None:
    assert state(f"requires={requires!r}") == text


def test_parameters_that_the_user_must_give(state: State) -> None:
    assert state('needs=("model",)') == "needs --extractor.model"
    assert state('needs=["model", "layer"]') == "needs --extractor.model --extractor.layer"


def test_weights_of_a_publisher(state: State, tmp_path: Path) -> None:
    place = tmp_path / "cache" / "weights" / "net.onnx"
    assert state(f"weights=({WEIGHT},)") == "weights not fetched (2.5 MB): asd weights fetch net"
    assert state(f"weights=({UNSIZED},)") == "weights not fetched: asd weights fetch net"
    put(place.with_name("net.onnx.part"), 2_500_000)  # an interrupted download
    assert state(f"weights=({WEIGHT},)").startswith("weights not fetched")
    put(place, 1_000_000)
    assert state(f"weights=({WEIGHT},)") == "weights damaged (2.5 MB): asd weights fetch net"
    put(place, 2_500_000)
    assert state(f"weights=({WEIGHT},)") == "ready"


def test_weights_that_the_user_imported_under_their_hash(state: State, tmp_path: Path) -> None:
    put(tmp_path / "cache" / "weights" / SHA256 / "net.onnx", 2_500_000)
    assert state(f"weights=({WEIGHT},)") == "ready"


def test_weights_inside_the_distribution(state: State, tmp_path: Path) -> None:
    again = "pip install --force-reinstall --no-deps trial"
    assert state(f"weights=({EMBEDDED},)") == f"weights missing (0.0 MB): {again}"
    put(tmp_path / "trial_package" / "weights" / "net.onnx", 3)
    assert state(f"weights=({EMBEDDED},)") == f"weights damaged (0.0 MB): {again}"
    put(tmp_path / "trial_package" / "weights" / "net.onnx", 4)
    assert state(f"weights=({EMBEDDED},)") == "ready"


def test_weights_whose_publisher_states_no_hash(state: State, tmp_path: Path) -> None:
    text = "weights not fetched: first use downloads net.h5"
    assert state('first_use=("net.h5",)') == text
    put(tmp_path / "cache" / "weights" / "net.h5", 3)
    assert state('first_use=("net.h5",)') == text  # whose it is, nobody has recorded: it is fetched anew
    put(tmp_path / "cache" / "weights" / "net.h5.sha256", 64)
    assert state('first_use=("net.h5",)') == "ready"


def test_a_store_that_cannot_be_looked_into(state: State, tmp_path: Path) -> None:
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    weight = WEIGHT.replace("net.onnx", "n" * 300)  # as without permission, the system refuses, which root does not see
    assert state(f"weights=({weight},)").startswith("weights cannot be read (File name too long): ")


def test_the_front_end_of_an_extractor_counts(state: State) -> None:
    assert state('frontend="needy"') == "its front end needy: needs --frontend.length"
    assert state('frontend="mel-image"') == (
        "its front end: frontend 'mel-image' is not installed: pip install asd-frontends"
    )


def test_a_wrong_field_breaks_the_plugin_with_one_line(state: State) -> None:
    assert "needs must be a tuple of names of parameters, got ('--model',)" in state('needs=("--model",)')
    assert "first_use must be a tuple of file names, got ('a/b',)" in state('first_use=("a/b",)')


def test_what_ours_say_that_the_user_must_give_is_what_they_miss() -> None:
    """Whoever is asked for nothing can be made from nothing; whoever asks for a parameter refuses to be without."""
    for component in (each for kind in PIPELINE_KINDS for each in registry().of_kind(kind)):
        if component.problem or not component.plugin.is_ours:
            continue
        if needs := component.spec.needs:
            with pytest.raises(ConfigError, match=f"--{component.spec.kind}.{needs[0]}"):
                create(component.spec.kind, component.qualified_name)
        else:
            create(component.spec.kind, component.qualified_name)


def listed(*arguments: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        [ASD, "plugins", *arguments], capture_output=True, text=True, check=True, env={**os.environ, **env}
    )
    return done.stdout


def test_the_command_says_it_in_the_table_and_in_json(tmp_path: Path) -> None:
    env = {"ASD_CACHE": str(tmp_path), "ASD_PLUGINS": "asd-imagenet,asd-onnx,asd-frontends,asd-transformers"}
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in json.loads(listed("--json", env=env))}
    assert (rows["squeezenet1_0"]["state"], rows["squeezenet1_0"]["ready"]) == ("ready", True)
    text = "weights not fetched (46.8 MB): asd weights fetch resnet18"
    assert (rows["resnet18"]["state"], rows["resnet18"]["ready"]) == (text, False)
    assert "resnet18 [weights not fetched] ResNet-18" in " ".join(listed(env=env).split())
    assert text in listed("-v", env={**env, "COLUMNS": "400"})
    assert f"state:              {text}" in listed("show", "resnet18", env=env)
    assert "needs --extractor.model" in listed("show", "huggingface", env=env)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_component_is_one_line_that_breaks_no_name(tmp_path: Path, width: int) -> None:
    text = listed(env={"ASD_CACHE": str(tmp_path), "COLUMNS": str(width)})
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    assert len(lines) == len(registry().of_kind())
    assert max(map(len, lines)) <= width
    for component in registry().of_kind():
        assert [line for line in lines if line.split()[0] == component.spec.name]  # folded, it could not be copied
    assert "detectors (--detector NAME)" in text
    assert "ready" not in text.replace("not ready", "").replace("get ready", "")
    assert "Apache" not in text


def test_words_filter_the_list(tmp_path: Path) -> None:
    env = {"ASD_CACHE": str(tmp_path)}
    for arguments in (
        ("openl3", "--kind", "extractor"),
        ("--kind", "extractor", "openl3"),
        ("list", "OPENL3", "extractor"),
    ):
        lines = [line.split()[0] for line in listed(*arguments, env=env).splitlines() if line.startswith("  ")]
        assert lines == ["openl3-env", "openl3-music"], arguments
    assert listed("no-such", "word", env=env) == (
        "Nothing that is installed matches 'no-such word'; 'asd plugins' lists everything.\n"
    )
    assert json.loads(listed("no-such-word", "--json", env=env)) == []


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from asd.contract.installed import registry; from asd.files.readiness import state_of\n"
        "[state_of(component) for component in registry().of_kind()]\n"
        "heavy = {'numpy', 'torch', 'onnxruntime', 'sklearn', 'scipy', 'requests', 'soundfile'} & sys.modules.keys()\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
