"""Model files of every released format load and score the same for ever."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import asd
from asd.contract.installed import registry

GOLDEN = Path(__file__).resolve().parent / "golden"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


def test_every_golden_model_is_expected() -> None:
    assert {path.stem for path in GOLDEN.glob("*.asd")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_it_scores_as_it_did(name: str, recwarn: pytest.WarningsRecorder) -> None:
    check(name)
    assert not recwarn.list  # old names in a model file are nobody's mistake


@pytest.mark.parametrize("name", ["default", "squeezenet-ensemble"])
def test_it_needs_no_distribution_that_its_components_have_left(
    name: str, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASD_PLUGINS", "asd-frontends,asd-onnx,asd-sklearn")
    needed = {plugin.distribution for plugin in registry().plugins}
    assert needed == {"asd-frontends", "asd-onnx", "asd-sklearn"}
    check(name)
    assert not recwarn.list


def check(name: str) -> None:
    """Load a model and compare what it says with what it said when it was saved."""
    model = asd.load(GOLDEN / f"{name}.asd", runtime=asd.Runtime(device="cpu", precision="fp32"))
    expected = EXPECTED[name]
    assert model.decision.level == expected["decision"]["level"]
    verdicts = list(asd.score(model, str(GOLDEN / "clips")))
    assert [verdict.clip.path.name for verdict in verdicts] == list(expected["clips"])
    for verdict in verdicts:
        assert isinstance(verdict, asd.Verdict)
        said = expected["clips"][verdict.clip.path.name]
        # Other processors sum in another order.
        np.testing.assert_allclose(verdict.score, said["score"], rtol=1e-4)
        np.testing.assert_allclose(verdict.window_scores, said["window_scores"], rtol=1e-3)
        np.testing.assert_array_equal(verdict.window_start, said["window_start"])
        assert (verdict.p_value, verdict.anomalous) == (pytest.approx(said["p_value"]), said["anomalous"])
