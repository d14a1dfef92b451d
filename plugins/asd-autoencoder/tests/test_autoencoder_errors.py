"""What a user reads when something does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from asd.errors import AsdError, ConfigError, DataError, ModelFileError
from asd.plugin import Runtime, create

Patches = Callable[..., npt.NDArray[np.float32]]
NAMES = ("dense-ae", "lenet-dcae", "small-dcae")


def quick(name: str, **parameters: Any) -> Any:
    shape = {} if name == "dense-ae" else {"shape": (16, 16)}
    return create("detector", name, {"epochs": 1, "train_batch": 32, **shape, **parameters})


def raises(kind: type[AsdError], text: str) -> Any:
    return pytest.raises(kind, match=f"^{re.escape(text)}$")


def test_features_that_are_no_patches_name_the_front_end():
    with raises(
        ConfigError,
        "lenet-dcae: got 320 features a window, a patch of 64 × 64 has 4096; use --frontend mel-patch --extractor "
        "identity without PCA, or set --detector.shape to the patch's size",
    ):
        create("detector", "lenet-dcae").fit(np.random.default_rng(0).normal(size=(200, 320)))


@pytest.mark.parametrize("name", NAMES)
def test_too_few_windows_for_a_batch(name: str, patches: Patches):
    with raises(
        DataError,
        f"{name}: 20 windows to learn from, a batch takes 32; give more or longer recordings, or use "
        "--detector.train_batch 5",
    ):
        quick(name).fit(patches(20))


def test_too_few_windows_beside_the_held_out_ones(patches: Patches):
    with raises(
        DataError,
        "dense-ae: 32 windows to learn from (8 more are held out), a batch takes 40; give more or longer recordings, "
        "or use --detector.train_batch 8",
    ):
        quick("dense-ae", train_batch=40, early_stop=1, held_out=0.2).fit(patches(40))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_numbers(value: float, patches: Patches):
    bad = patches(64)
    bad[[3, 9], 5] = value
    text = (
        "small-dcae: 2 of 64 windows hold NaN or infinite features (the first is window 4); check those recordings, "
        "the front end and the extractor"
    )
    with raises(DataError, text):
        quick("small-dcae").fit(bad)
    fitted = quick("small-dcae").fit(patches(64))
    with raises(DataError, text):
        fitted.score(bad)


def test_features_of_one_value():
    with raises(
        DataError,
        "dense-ae: all 64 training windows have the same features, there is nothing to learn; check that the "
        "recordings are not silent or copies of one",
    ):
        quick("dense-ae").fit(np.full((64, 320), -80, np.float32))
    with raises(
        DataError,
        "dense-ae: all 64 training windows hold nothing but the value -80, there is nothing to learn; check that the "
        "recordings are not silent",
    ):
        quick("dense-ae").fit(np.linspace(-80, -80 + 1e-9, 64 * 320).reshape(64, 320))


def test_features_without_rows():
    with raises(
        DataError,
        "dense-ae: expected numbers of shape (windows, features), got shape (320,) of float32; reshape them to one row "
        "per window",
    ):
        quick("dense-ae").fit(np.zeros(320, np.float32))


def test_a_loss_that_is_no_number_names_the_learning_rate(patches: Patches):
    with raises(
        ConfigError,
        "dense-ae: the loss became nan in epoch 1 at learning rate 1e+30; use --detector.learning_rate 1e+29 or less",
    ):
        quick("dense-ae", learning_rate=1e30).fit(patches(128))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_a_gpu_that_is_absent(patches: Patches):
    detector = quick("dense-ae")
    detector.runtime = Runtime(device="cuda")
    with pytest.raises(ConfigError, match=r"^device 'cuda' is not available; this machine has cpu"):
        detector.fit(patches(64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
def test_a_gpu_without_memory(patches: Patches):
    detector = quick("lenet-dcae")
    detector.runtime = Runtime(device="cuda")
    torch.cuda.set_per_process_memory_fraction(1e-5)
    try:
        with pytest.raises(ConfigError, match=r"use --detector\.train_batch 16 or --device cpu$"):
            detector.fit(patches(64))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_scoring_before_fitting(patches: Patches):
    text = "small-dcae: not fitted yet; call fit or load a model before scoring"
    with raises(ConfigError, text):
        quick("small-dcae").score(patches(1))
    with raises(ConfigError, text):
        quick("small-dcae").get_state()


def test_scoring_features_of_another_length(patches: Patches):
    detector = quick("dense-ae").fit(patches(64))
    with raises(
        DataError,
        "dense-ae: got 10 features a window, was fitted with 256; score with the front end, extractor and parameters "
        "of the fit, or fit again",
    ):
        detector.score(np.zeros((3, 10), np.float32))


def test_a_state_of_another_network(patches: Patches):
    state = quick("lenet-dcae").fit(patches(64)).get_state()
    with pytest.raises(AsdError, match=r"^the model does not fit small-dcae: "):
        quick("small-dcae").set_state(state)
    del state["dimension"]
    with raises(
        ModelFileError,
        "lenet-dcae: the model lacks dimension; it is damaged or of another version: fit it again",
    ):
        quick("lenet-dcae").set_state(state)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0; use --detector.epochs 1 or more"),
        (
            {"train_batch": 0},
            "train_batch must be a whole number of at least 1, got 0; use --detector.train_batch 1 or more",
        ),
        (
            {"early_stop": 0},
            "early_stop must be a whole number of at least 1, got 0; use --detector.early_stop 1 or more",
        ),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1; use --detector.seed 0 or more"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0, got 0.0; change --detector.learning_rate"),
        ({"held_out": 1.0}, "held_out must be a number above 0 and below 1, got 1.0; change --detector.held_out"),
        (
            {"weight_decay": -1.0},
            "weight_decay must be a number of at least 0, got -1.0; change --detector.weight_decay",
        ),
        (
            {"bottleneck": 0},
            "bottleneck must be a whole number of at least 1, got 0; use --detector.bottleneck 1 or more",
        ),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_parameters_out_of_range(name: str, parameters: dict[str, Any], text: str):
    with raises(ConfigError, f"{name}: {text}"):
        quick(name, **parameters)


def test_widths_out_of_range():
    with raises(
        ConfigError, "dense-ae: hidden must be a whole number of at least 1, got 0; use --detector.hidden 1 or more"
    ):
        quick("dense-ae", hidden=(64, 0))


@pytest.mark.parametrize("shape", ["60,64", "0,64"])
def test_shapes_that_cannot_be_halved_three_times(shape: str):
    with raises(
        ConfigError,
        f"lenet-dcae: shape must be two multiples of 8 (height, width), got {shape.replace(',', ', ')}; use "
        "--detector.shape 64,64 and a patch of that size",
    ):
        quick("lenet-dcae", shape=shape)


@pytest.mark.parametrize("shape", ["64", "64,64,64"])
def test_shapes_that_are_no_pairs(shape: str):
    text = f"parameter 'shape' takes a comma-separated list of 2 values, each a whole number, got '{shape}'"
    with raises(ConfigError, f"detector 'lenet-dcae': {text}"):
        quick("lenet-dcae", shape=shape)
