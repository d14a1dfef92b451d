"""What the registry knows of the plugin, and that knowing it is cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

from asd.errors import ConfigError
from asd.experiment import parameters
from asd.plugin import create, registry


@pytest.mark.parametrize(
    ("name", "frontend"), [("lenet-dcae", "mel-patch"), ("small-dcae", "mel-patch"), ("dense-ae", "mel-stack")]
)
def test_the_detectors_ask_for_spectrograms(name: str, frontend: str):
    component = registry().find("detector", name)
    assert component.plugin.distribution == "asd-autoencoder"
    assert (component.spec.frontend, component.spec.extractor) == (frontend, "identity")
    assert component.problem is None


@pytest.mark.parametrize("name", ["lenet-dcae", "small-dcae", "dense-ae"])
def test_every_parameter_is_described(name: str):
    found = {p.name: p.description for p in parameters(registry().find("detector", name))}
    assert {"epochs", "train_batch", "learning_rate", "weight_decay", "early_stop", "held_out", "seed"} <= set(found)
    assert all(found.values())


def test_a_name_fixes_its_architecture():
    with pytest.raises(ConfigError, match=r"^detector 'small-dcae' fixes architecture = 'small'"):
        create("detector", "small-dcae", {"architecture": "lenet"})


def test_listing_imports_no_torch():
    program = "import sys, asd_autoencoder.plugin as p; list(p.asd_components()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
