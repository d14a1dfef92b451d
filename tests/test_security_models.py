"""What a model file may not do: choose, fetch, run, or be trusted unasked."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asd
from asd.contract.create import parameters
from asd.contract.installed import registry
from asd.contract.permissions import check_parameters, model_file_rules
from asd.detection import modelfile
from asd.errors import AsdError, ModelFileError, PluginError
from asd.files.folders import settings_folder
from forging import ASD, CLIPS, QUICK, choosing, forged, run, six_recordings


class Mark:
    """Leaves a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Path.touch, (self.place,)


def test_a_pickle_is_no_model_and_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "m.asd"
    path.write_bytes(pickle.dumps(Mark(tmp_path / "ran")))
    with pytest.raises(ModelFileError, match="not a model file"):
        asd.load(path)
    assert not (tmp_path / "ran").exists()


def test_a_component_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    path = forged(tmp_path / "m.asd", choosing("detector", "os:system"))
    with pytest.raises(PluginError, match="os:system"):
        asd.load(path)


ATTACKS = {
    "a graph by its address": ("essentia", {"graph": "https://example.org/a.pb", "sha256": "0" * 64}),
    "a graph beside the model": ("essentia", {"graph": "a.pb"}),
    "a graph by a published name and another hash": ("essentia", {"model": "vggish", "sha256": "0" * 64}),
    "a device as metadata": ("essentia-vggish", {"metadata": "/dev/zero", "sha256": "0" * 64}),
    "a secret as weights": ("torchvision", {"weights": "/etc/shadow"}),
    "a pipe as weights": ("squeezenet1_0", {"weights": "{pipe}"}),
    "a file without a suffix": ("yamnet-keras", {"weights": "{pipe}"}),
    "an address": ("efficientat-mn04", {"weights": "https://example.org/a.pt", "weights_sha256": "0" * 64}),
    "a file by its address": ("vggish-audioset", {"weights": "file:///etc/shadow", "weights_sha256": "0" * 64}),
    "a home folder": ("openl3-env", {"weights": "~/a.h5"}),
    "a name on the hub": ("huggingface", {"model": "gpt2"}),
    "a folder": ("huggingface", {"model": "."}),
    "code": ("huggingface", {"model": "owner/name", "trust_remote_code": True}),
    "code by another spelling": ("huggingface", {"model": None, "trust_remote_code": "yes"}),
}


@pytest.mark.parametrize(("name", "given"), ATTACKS.values(), ids=list(ATTACKS))
def test_a_model_file_may_not_choose(
    name: str, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opening it would wait for ever
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pb").write_bytes(b"not looked at")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("connects"))
    given = {key: value.format(pipe=pipe) if isinstance(value, str) else value for key, value in given.items()}
    path = forged(tmp_path / "m.asd", choosing("extractor", name, **given))
    with pytest.raises(ModelFileError) as caught:
        asd.load(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: its extractor {registry().find('extractor', name).qualified_name} asks for ")
    assert told.endswith(
        "; for a model file nothing is fetched, opened or run but the weights that a plugin contains or publishes: "
        "if you trust whoever made this file, add trust=True, which is remembered for its very content"
    )


def test_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    path = forged(tmp_path / "m.asd", choosing("extractor", "squeezenet1_0", weights="/etc/shadow"))
    for command in (["score", path, CLIPS], ["evaluate", path, "--normal", CLIPS, "--anomalous", CLIPS]):
        done = subprocess.run([ASD, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "asks for weights = '/etc/shadow'; for a model file nothing" in line


HOSTILE = ("https://example.org/a.pt", "/etc/shadow", "../a", "~/a", "C:a", "owner/name", "a.pth", "\\\\host\\a")


def test_every_component_refuses_addresses_and_paths() -> None:
    tried = 0
    with model_file_rules("m.asd"):
        for component in (c for kind in ("frontend", "extractor", "detector") for c in registry().of_kind(kind)):
            named = component.qualified_name
            for parameter in parameters(component):
                if component.spec.restricted.get(parameter.name, ()) is None or "str" not in str(parameter.annotation):
                    continue
                for value in HOSTILE:
                    for given in (value, [value], {"a": [value]}):
                        with pytest.raises(ModelFileError, match=f"{named} asks for {parameter.name} = "):
                            check_parameters(component.spec.kind, named, {parameter.name: given})
                        tried += 1
    assert tried > 500


def test_what_is_declared_exists_and_defaults_are_harmless() -> None:
    with model_file_rules("m.asd"):
        for component in (c for kind in ("frontend", "extractor", "detector") for c in registry().of_kind(kind)):
            known = {p.name: p.default for p in parameters(component)}
            assert component.spec.restricted.keys() <= known.keys() | component.spec.preset.keys()
            defaults = {name: value for name, value in known.items() if isinstance(value, str | tuple | bool)}
            check_parameters(component.spec.kind, component.qualified_name, defaults)


def test_former_names_of_parameters_are_no_way_round() -> None:
    from asd.contract.create import load_class

    for component in registry().of_kind():
        renamed = getattr(load_class(component), "renamed", {}) if component.spec.kind != "dataset" else {}
        hidden = {former for former, present in renamed.items() if present in component.spec.restricted}
        assert hidden <= component.spec.restricted.keys(), component.qualified_name


@pytest.mark.parametrize("member", ["gmm", "gmm n_components=3", "asd-sklearn:knn metric=cosine"])
def test_harmless_members_are_allowed(member: str) -> None:
    with model_file_rules("m.asd"):
        check_parameters("detector", "ensemble", {"detectors": ["knn", member]})


STRANGER = """
from pathlib import Path
from asd import Detector
from asd_registry import ComponentSpec, hookimpl


class Reads(Detector):
    def __init__(self, *, table="mean", place="a/default.txt"):
        self.table, self.place = table, place
        if table != "mean":
            Path(__file__).with_name("it-read").touch()

    def fit(self, features):
        self.centre_ = features.mean(axis=0, dtype="float64")
        return self

    def score(self, features):
        return abs(features - self.centre_).sum(axis=1)


@hookimpl
def asd_components():
    spec = {"kind": "detector", "summary": "Distance from a table", "licence": "MIT", "target": f"{__name__}:Reads"}
    return [
        ComponentSpec(name="reads", **spec),
        ComponentSpec(name="fetches", restricted={"table": ("mean", "median")}, **spec),
    ]
"""


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return six_recordings(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, sounds: Path) -> Path:
    """Return a plugin of somebody else's, with a model that was fitted with it beside it."""
    plugin = tmp_path_factory.mktemp("stranger") / "stranger.py"
    plugin.write_text(STRANGER)
    model = plugin.with_name("m.asd")
    for name in ("reads", "fetches"):
        run("fit", sounds, "-o", model.with_stem(name), "--detector", name,
            "--plugin-file", plugin, *QUICK)  # fmt: skip
    return plugin


def with_detector(model: Path, path: Path, **given: Any) -> Path:
    manifest, arrays = modelfile.read(model)
    manifest["config"]["detector"] |= given
    modelfile.write(path, manifest, arrays)
    return path


@pytest.mark.parametrize(
    ("name", "given"),
    [("reads", {"table": "/etc/shadow"}), ("reads", {"table": "a.csv"}), ("fetches", {"table": "plain"})],
)
def test_a_stranger_plugin_that_declares_nothing_is_safe(
    name: str, given: dict[str, str], stranger: Path, tmp_path: Path
) -> None:
    path = with_detector(stranger.with_name(f"{name}.asd"), tmp_path / "m.asd", **given)
    told = run("score", path, CLIPS, "--plugin-file", stranger, code=2).stderr
    assert f"its detector stranger.py:{name} asks for table = {given['table']!r}; for a model file" in told
    assert not stranger.with_name("it-read").exists()
    # Its default is the author's own, and looks like a path; what was fitted here is what it was.
    scored = run("score", stranger.with_name(f"{name}.asd"), CLIPS, "--csv", "--plugin-file", stranger, code=None)
    assert "healthy.flac" in scored.stdout


def test_members_of_an_ensemble_are_no_way_round(stranger: Path, tmp_path: Path) -> None:
    for member in ("fetches table=plain", "reads table=/etc/shadow"):
        path = forged(
            tmp_path / "m.asd",
            lambda manifest, member=member: manifest["config"].update(
                detector={"name": "asd-sklearn:ensemble", "detectors": ["gmm", member]}
            ),
            "squeezenet-ensemble",
        )
        told = run("score", path, CLIPS, "--plugin-file", stranger, code=2).stderr
        assert "asks for table = " in told or "asks for detectors = " in told
        assert not stranger.with_name("it-read").exists()


def squeezenet_file(folder: Path) -> Path:
    """Return the path of weights that are no published file's."""
    from asd.plugin import locate

    place = folder / "own.safetensors"
    place.write_bytes(locate(registry().find("extractor", "squeezenet1_0-torch").spec.weights[0]).read_bytes())
    return place


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    """Return a model file that names a file of weights, and works with it."""
    weights = squeezenet_file(tmp_path)

    def change(manifest: dict[str, Any]) -> None:
        (digest,) = manifest["weights"].values()
        manifest["weights"] = {weights.name: digest}
        manifest["config"]["extractor"] |= {"weights": str(weights)}

    return forged(tmp_path / "m.asd", change, "squeezenet-ensemble")


def test_consent_is_for_the_content(asking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "settings"))
    with pytest.raises(ModelFileError, match="add trust=True"):
        asd.load(asking)
    asd.load(asking, trust=True)
    assert next(asd.score(asking, CLIPS))
    elsewhere = asking.rename(tmp_path / "another-name.asd")
    asd.load(elsewhere)
    (record,) = (settings_folder() / "trusted").iterdir()
    assert record.read_text() == f"{asking}\n"
    for change in (
        lambda manifest, arrays: manifest.update(clips=manifest["clips"] + 1),
        lambda manifest, arrays: arrays.update({"calibration.scores": np.nextafter(arrays["calibration.scores"], 9)}),
        lambda manifest, arrays: manifest["weights"].update({"own.safetensors": "0" * 64}),
    ):
        manifest, arrays = modelfile.read(elsewhere)
        change(manifest, arrays)  # type: ignore[no-untyped-call]  # a table of small changes
        modelfile.write(tmp_path / "changed.asd", manifest, arrays)
        with pytest.raises(ModelFileError, match="add trust=True"):
            asd.load(tmp_path / "changed.asd")


def test_consent_that_cannot_be_recorded_counts_once(
    asking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "file" / "settings"))
    asd.load(asking, trust=True)
    assert "give --trust at every use, or set ASD_SETTINGS to a folder that you may write to" in caplog.text
    with pytest.raises(ModelFileError, match="add trust=True"):
        asd.load(asking)


def test_the_command_consents(asking: Path, tmp_path: Path) -> None:
    settings = {"ASD_SETTINGS": str(tmp_path / "settings")}
    arguments = ("score", asking, CLIPS / "healthy.flac", "--csv")
    run(*arguments, code=2, **settings)
    assert run(*arguments, "--trust", **settings).stdout == run(*arguments, **settings).stdout
    run(*arguments, code=2, ASD_SETTINGS=str(tmp_path / "another user"))


def test_what_was_fitted_here_needs_no_consent(tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "settings"))
    path = tmp_path / "m.asd"
    extractor = {"name": "squeezenet1_0", "weights": str(squeezenet_file(tmp_path))}
    asd.fit(sounds, extractor=extractor, false_alarms_per_hour=500.0).save(path)
    assert next(asd.score(path, CLIPS))
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "another machine"))
    with pytest.raises(ModelFileError, match="add trust=True"):
        asd.load(path)
    asd.fit(sounds, frontend="mel-stack", extractor="identity", false_alarms_per_hour=500.0).save(path)
    assert not (tmp_path / "another machine").exists()  # nothing to consent to, nothing to record
    asd.load(path)


def test_other_weights_are_not_read(asking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = asd.load(asking, trust=True)
    (tmp_path / "own.safetensors").write_bytes(b"something else")
    monkeypatch.setattr("asd_torch.read_tensors", lambda *_: pytest.fail("reads them"))
    with pytest.raises(ModelFileError, match=r"the model was fitted with weights own\.safetensors \(sha256 "):
        next(model.score([asd.Clip(CLIPS / "healthy.flac")]))


def test_a_model_file_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    evil = "/\x1b]0;owned\x07\n\u202e" + "x" * 5000
    path = forged(tmp_path / "m.asd", choosing("extractor", "squeezenet1_0", weights=evil))
    told = run("score", path, CLIPS, code=2).stderr
    assert told.rstrip("\n").isprintable()
    assert len(told) < 800


def test_who_can_write_the_file_can_write_the_digest(tmp_path: Path) -> None:
    path = forged(tmp_path / "m.asd", lambda manifest: manifest.update(created="1970-01-01T00:00:00+00:00"))
    assert asd.load(path).clips


def test_a_known_name_in_a_models_address_poisons_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "settings"))
    for name in ("yamnet.h5", "openl3_audio_mel256_env-v0_4_0.h5.gz"):
        evil = tmp_path / name
        evil.write_bytes(b"forged")
        given = {"weights": evil.as_uri(), "weights_sha256": hashlib.sha256(b"forged").hexdigest()}
        path = forged(tmp_path / "m.asd", choosing("extractor", "efficientat-mn04", **given))
        with pytest.raises(ModelFileError):
            asd.load(path)
        model = asd.load(path, trust=True, cache=False)  # even with consent
        with pytest.raises(AsdError):
            next(model.score([asd.Clip(CLIPS / "healthy.flac")]))
        assert not (tmp_path / "cache" / "weights" / name).exists()
        assert not list((tmp_path / "cache" / "weights").glob("*.sha256"))
