"""One configuration, from TOML, keywords and options alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import asd
from asd.contract.create import create
from asd.detection.config import Choice, Config, read_toml
from asd.detection.transform import FeatureTransform
from asd.errors import ConfigError, PluginError, RenamedWarning

TOML = """
pca = 0.98
pooling = "top"
channel = 2
detector = {name = "gmm", n_components = 20}
[frontend]
name = "mel-stack"
n_mels = 32
"""


def test_toml_of_an_editor_on_windows(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(TOML)
    (tmp_path / "windows.toml").write_bytes(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())
    assert read_toml(tmp_path / "windows.toml") == read_toml(tmp_path / "p.toml")


def test_toml_and_round_trip(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(TOML)
    config = Config.from_mapping(read_toml(tmp_path / "p.toml"))
    assert config.detector == Choice("gmm", {"n_components": 20})
    assert (config.pca, config.pooling, config.channel, config.segment) == (0.98, "top", 2, None)
    assert Config.from_mapping(config.as_mapping()) == config


def test_defaults_are_resolved_from_the_specs() -> None:
    resolved = Config(detector=Choice("knn")).resolved()
    assert resolved.frontend == Choice("efficientat-mel")
    assert resolved.extractor == Choice("efficientat-mn04")
    assert resolved.detector == Choice("knn") == Config(extractor=Choice("efficientat-mn04")).resolved().detector
    assert resolved.pca == 0.98
    assert Config().resolved().names == ("timbre", "level", "spectrum", "tonality", "pulsation")
    assert Config.from_mapping({"detector": "small-dcae"}).resolved().pca is None
    assert Config.from_mapping({"pca": "none"}).resolved().pca is None
    with pytest.raises(ConfigError, match=r"extractor .identity. has no front end of its own: choose one by"):
        Config.from_mapping({"extractor": "identity"}).resolved()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pooing": "max"}, r"the configuration has no parameter 'pooing'; did you mean pooling\?"),
        ({"pooling": "sum"}, r"parameter 'pooling' takes mean or max or top, got 'sum'"),
        ({"pca": 1.5}, r"pca takes a fraction above 0, at most 1, or auto, or none, got 1\.5"),
        ({"folds": "0"}, r"folds takes 1 or more, got 0"),
        ({"deviation_floor": -1}, r"deviation_floor takes a number from 0, got -1"),
        ({"channel": 0}, r"channel takes mix, or a number from 1, got 0"),
        ({"segment": -1}, r"segment takes seconds above 0, or none, got -1"),
        ({"false_alarms_per_hour": 0}, r"false_alarms_per_hour takes alarms per hour above 0, or none, got 0"),
        ({"top_fraction": 0}, r"top_fraction takes a fraction above 0, at most 1, got 0"),
        ({"detector": 5}, r"detector takes a name, a table with 'name' and parameters, .+, got 5"),
        ({"detector": {"n_components": 5}}, r"detector takes a name, a table with 'name'"),
    ],
)
def test_mistakes_are_named(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Config.from_mapping(options)


def test_the_former_name_of_the_alarm_s_rate_works_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("false_alarm_rate = 2\n")
    text = "^the configuration: parameter 'false_alarm_rate' is now called 'false_alarms_per_hour'$"
    with pytest.warns(RenamedWarning, match=text):
        config = Config.from_mapping(read_toml(tmp_path / "p.toml"))
    with pytest.warns(RenamedWarning, match="^Config: parameter 'false_alarm_rate' is now called"):
        assert Config(false_alarm_rate=2.0) == config  # type: ignore[call-arg]
    with pytest.warns(RenamedWarning, match="^Config: attribute 'false_alarm_rate' is now called"):
        assert config.false_alarm_rate == config.false_alarms_per_hour == 2.0  # type: ignore[attr-defined]
    assert list(config.as_mapping()) == list(Config().as_mapping())
    with pytest.raises(ConfigError, match="'false_alarm_rate' and 'false_alarms_per_hour' are the same parameter"):
        Config.from_mapping({"false_alarm_rate": 2, "false_alarms_per_hour": 2})


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot read this configuration"):
        read_toml(tmp_path / "absent.toml")
    (tmp_path / "p.toml").write_text("pca = \n")
    with pytest.raises(ConfigError, match=r"p\.toml: not a TOML file: Invalid value \(at line 1, column 7\)"):
        read_toml(tmp_path / "p.toml")


def test_components_by_name_with_parameters_as_text() -> None:
    gmm = create("detector", "asd-sklearn:gmm", {"n_components": "7"})
    assert gmm.get_params()["n_components"] == 7
    with pytest.raises(ConfigError, match=r"detector 'gmm' has no parameter 'component'; did you mean n_components\?"):
        create("detector", "gmm", {"component": 7})
    with pytest.raises(ConfigError, match=r"detector 'gmm': parameter 'n_components' takes a whole number, got 'many'"):
        create("detector", "gmm", {"n_components": "many"})
    with pytest.raises(ConfigError, match=r"extractor 'resnet18' fixes model = 'resnet18'; leave it out"):
        create("extractor", "resnet18", {"model": "resnet50"})
    with pytest.raises(PluginError, match=r"unknown detector 'gmn'; did you mean .*gmm"):
        create("detector", "gmn")


@pytest.mark.parametrize("n", [30, 500])
def test_pca_keeps_the_variance_asked_for(n: int) -> None:
    """More and fewer windows than features take different ways to the same answer."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    features = (rng.normal(size=(n, 8)) @ rng.normal(size=(8, 60)) + 0.05 * rng.normal(size=(n, 60))).astype(np.float32)
    transform = FeatureTransform(standardise=True, pca=0.98).fit(features)
    reference = PCA(0.98, svd_solver="full").fit(StandardScaler().fit_transform(features.astype(np.float64)))
    got = transform.transform(features)
    assert got.shape == (n, reference.n_components_)
    expected = reference.transform(StandardScaler().fit_transform(features.astype(np.float64)))
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 7, 23, 5000])
def test_rows_are_rotated_alike_whether_few_or_many(count: int) -> None:
    """Few rows are multiplied in pieces, many at once."""
    features = np.random.default_rng(0).normal(size=(5000, 300)).astype(np.float32)
    transform = FeatureTransform(pca=0.6).fit(features[:500])
    assert transform.components is not None
    few = transform.transform(features[:count])
    assert few.shape == (count, transform.components.shape[1])
    np.testing.assert_allclose(few, transform.transform(features)[:count], atol=1e-6)


def test_constant_features_stay_finite() -> None:
    features = np.full((10, 3), 1 / 3, np.float32)
    features[:, 0] = np.arange(10)
    transform = FeatureTransform(standardise=True, pca=0.5).fit(features)
    assert np.isfinite(transform.transform(features + 1e-7)).all()
    assert transform.scale[1] == 1.0
    constant = FeatureTransform(pca=0.9).fit(features[:, 1:])
    assert constant.transform(features[:, 1:]).shape == (10, 1)


def test_the_deviation_floor_spares_what_hardly_varies() -> None:
    features = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32) * np.array(
        [2, 1, 1, 1e-3], np.float32
    )
    plain = FeatureTransform().fit(features)
    floored = FeatureTransform(deviation_floor=1.0).fit(features)
    np.testing.assert_allclose(plain.transform(features).std(axis=0), 1, rtol=1e-3)
    median = np.median(features.std(axis=0))
    np.testing.assert_allclose(floored.scale, np.maximum(features.std(axis=0), median), rtol=1e-3)


def test_a_sample_rate_is_called_rate() -> None:
    with pytest.raises(ConfigError, match="no parameter 'sample_rate'; give the rate of arrays as rate="):
        asd.fit([], sample_rate=16000)
