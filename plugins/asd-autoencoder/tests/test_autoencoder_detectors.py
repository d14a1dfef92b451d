"""The detectors learn normal features, score others higher, and do so the same way every time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from asd.experiment import read_model_file, rendered_by, write_model_file
from asd.plugin import Detector, Runtime, create
from asd_autoencoder import networks, training

Patches = Callable[..., npt.NDArray[np.float32]]

QUICK: dict[str, dict[str, Any]] = {
    "lenet-dcae": {"shape": (16, 16), "epochs": 8, "train_batch": 16, "learning_rate": 3e-3},
    "small-dcae": {"shape": (16, 16), "epochs": 15, "train_batch": 32, "learning_rate": 3e-3},
    "dense-ae": {"epochs": 20, "train_batch": 32},
}
NAMES = sorted(QUICK)


def quick(name: str, **parameters: Any) -> Detector:
    detector: Detector = create("detector", name, {**QUICK[name], **parameters})
    return detector


def auc(normal: npt.NDArray[np.float64], anomalous: npt.NDArray[np.float64]) -> float:
    return float((anomalous[:, np.newaxis] > normal).mean())


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("scale", "level"), [(1.0, 0.0), (15.0, -40.0), (0.1, 0.5)], ids=["standardised", "decibels", "unit"]
)
@pytest.mark.parametrize("name", NAMES)
def test_other_bands_score_higher_than_the_learned_ones(name: str, scale: float, level: float, patches: Patches):
    detector = quick(name).fit(patches(128) * scale + level)
    normal = detector.score(patches(100, seed=1) * scale + level)
    shifted = detector.score(patches(100, seed=2, shift=1.0) * scale + level)
    assert normal.dtype == np.float64
    assert normal.shape == (100,)
    assert auc(normal, shifted) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_mean_squared_error_in_the_features_units(name: str, patches: Patches):
    values = patches(64) * 3 + 7
    detector: Any = quick(name, epochs=1).fit(values)
    autoencoder = detector._fitted().eval()
    with torch.no_grad():
        scaled = torch.from_numpy((values - autoencoder.level.numpy()) / autoencoder.scale.numpy())
        reproduced = autoencoder.network(scaled).numpy() * autoencoder.scale.numpy() + autoencoder.level.numpy()
    np.testing.assert_allclose(detector.score(values), ((reproduced - values) ** 2).mean(axis=1), rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_splitting_and_reordering_do_not_change_scores(name: str, patches: Patches):
    detector = quick(name, epochs=2).fit(patches(64))
    values = patches(50, seed=1)
    whole = detector.score(values)
    parts = np.concatenate([detector.score(values[:1]), detector.score(values[1:30]), detector.score(values[30:])])
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    np.testing.assert_allclose(detector.score(values[::-1])[::-1], whole, rtol=1e-5)
    detector.runtime = Runtime(batch_size=7)
    np.testing.assert_allclose(detector.score(values), whole, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_fixes_everything_and_another_changes_it(name: str, patches: Patches):
    states = [quick(name, epochs=2, seed=seed).fit(patches(64)).get_state() for seed in (3, 3, 4)]
    assert equal(states[0], states[1])
    assert not equal(states[0], states[2])


def test_the_global_random_generators_are_left_alone(patches: Patches):
    np.random.seed(5)
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1]
    quick("lenet-dcae", epochs=1).fit(patches(64))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_dense_training_does_not_depend_on_the_number_of_threads(patches: Patches):
    states = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        states.append(quick("dense-ae", epochs=2).fit(patches(64)).get_state())
        assert torch.get_num_threads() == threads
    assert equal(states[0], states[1])


def test_fitting_works_where_gradients_are_off(patches: Patches):
    with torch.no_grad():
        state = quick("dense-ae", epochs=2).fit(patches(64)).get_state()
    assert equal(state, quick("dense-ae", epochs=2).fit(patches(64)).get_state())


@pytest.mark.parametrize("name", NAMES)
def test_scores_survive_a_model_file(name: str, patches: Patches, tmp_path: Path):
    detector = quick(name, epochs=2).fit(patches(64))
    write_model_file(tmp_path / "model.asd", {}, detector.get_state())
    _, state = read_model_file(tmp_path / "model.asd")
    restored = quick(name, epochs=2)
    restored.set_state(state)
    assert np.array_equal(restored.score(patches(20, seed=1)), detector.score(patches(20, seed=1)))
    assert equal(restored.get_state(), detector.get_state())


def test_explicit_bfloat16_trains_and_scores_close_to_float32(patches: Patches):
    scores = []
    for precision in ("fp32", "bf16"):
        detector = quick("small-dcae")
        detector.runtime = Runtime(device="cpu", precision=precision)  # type: ignore[arg-type]  # both are allowed
        detector.fit(patches(64))
        scores.append(detector.score(np.concatenate([patches(20, seed=1), patches(20, seed=1, shift=1.0)])))
    assert auc(scores[1][:20], scores[1][20:]) > 0.95
    assert np.corrcoef(scores)[0, 1] > 0.95
    assert not np.array_equal(scores[0], scores[1])


def test_automatic_precision_scores_in_float32(patches: Patches):
    detector = quick("dense-ae", epochs=2)
    detector.runtime = Runtime(device="cpu", precision="auto")
    automatic = detector.fit(patches(64)).score(patches(30, seed=1))
    detector.runtime = Runtime(device="cpu", precision="fp32")
    assert np.array_equal(detector.score(patches(30, seed=1)), automatic)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_learns_the_same_as_the_processor(name: str, patches: Patches):
    scores = []
    for device in ("cpu", "cuda"):
        detector = quick(name)
        detector.runtime = Runtime(device=device, precision="fp32")
        scores.append(detector.fit(patches(256)).score(patches(50, seed=1)))
    assert np.corrcoef(scores)[0, 1] > 0.9


def test_early_stop_keeps_the_best_epoch(patches: Patches, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "asd")
    # So large a step soon makes the held-out error rise and fall.
    detector: Any = quick("dense-ae", early_stop=3, held_out=0.2, epochs=200, learning_rate=0.03).fit(patches(128))
    held_out = detector.held_out_loss_
    best = int(np.argmin(held_out))
    assert len(held_out) == len(detector.training_loss_) == best + 1 + 3 < 200
    assert f"stopped after epoch {best + 4} of 200: the held-out error was lowest after epoch {best + 1}" in caplog.text
    _, kept = training.split(128, 0.2, 0)
    scale = float(detector.get_state()["scale"])
    assert detector.score(patches(128)[kept]).mean() / scale**2 == pytest.approx(held_out[best], rel=1e-4)


def test_without_early_stop_every_window_and_every_epoch_counts(patches: Patches):
    detector: Any = quick("dense-ae", epochs=4).fit(patches(64))
    assert len(detector.training_loss_) == 4
    assert len(detector.held_out_loss_) == 0


def test_held_out_windows_come_in_stretches():
    learned, held_out = training.split(1000, 0.1, 0)
    assert sorted([*learned, *held_out]) == list(range(1000))
    assert len(held_out) == 100
    assert (np.diff(held_out) > 1).sum() < 5


def test_progress_is_shown_by_epoch(patches: Patches):
    seen = []

    def renderer(items: Any, description: str, total: int | None) -> Any:
        seen.append((description, total))
        return items

    with rendered_by(renderer):
        quick("small-dcae", epochs=2).fit(patches(64))
    assert seen == [("training small-dcae", 2)]


def test_the_readme_states_the_parameter_counts():
    lenet, small = (
        networks.convolutional(architecture, (64, 64), architecture.bottleneck)
        for architecture in networks.ARCHITECTURES.values()
    )
    dense = networks.dense(320, (64, 64), 8)
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for name, network in (("lenet-dcae", lenet), ("small-dcae", small), ("dense-ae", dense)):
        count = sum(parameter.numel() for parameter in network.parameters())
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}`"))
        assert re.search(rf"\| {count:,} \|", row.replace("\u202f", ",")), f"{name} has {count:,} parameters"


def test_the_papers_layers_are_built():
    lenet, small = (
        [m for m in networks.convolutional(a, (64, 64), a.bottleneck).modules() if hasattr(m, "weight")]
        for a in networks.ARCHITECTURES.values()
    )
    lenet_maps = [m.out_channels for m in lenet if isinstance(m, torch.nn.Conv2d)]
    assert lenet_maps == [32, 64, 128, 64, 32, 1]
    assert all(m.kernel_size == (5, 5) for m in lenet if isinstance(m, torch.nn.Conv2d))
    assert [(m.in_features, m.out_features) for m in lenet if isinstance(m, torch.nn.Linear)] == [
        (8192, 128),
        (128, 8192),
    ]
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in lenet) == 6
    assert [m.out_channels for m in small] == [12, 24, 48, 24, 12, 1]
    assert all(m.kernel_size == (4, 4) for m in small)
    dense = [m for m in networks.dense(320, (64, 64), 8) if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in dense] == [64, 64, 8, 64, 64, 320]


def test_a_bottleneck_and_other_shapes_can_be_chosen(patches: Patches):
    detector: Any = quick("small-dcae", bottleneck=10, shape="8,32", epochs=1).fit(patches(64))
    assert detector.shape == (8, 32)
    assert any(array.shape == (10, 48 * 1 * 4) for array in detector.get_state().values())
