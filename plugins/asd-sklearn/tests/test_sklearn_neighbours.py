"""What is particular to knn: local density, clips, groups."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from asd.errors import ConfigError, DataError, ModelFileError
from asd.plugin import Rows, create

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.normal(size=(60, 5)), RNG.normal(size=(20, 5))


def knn(train: np.ndarray, rows: Rows | None = None, **parameters: Any) -> Any:
    detector: Any = create("detector", "knn", parameters)
    return detector.fit(train, rows)


def distance(x: np.ndarray, y: np.ndarray, metric: str) -> float:
    if metric == "euclidean":
        return float(np.linalg.norm(x - y))
    return float(1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def radius(train: np.ndarray, i: int, clip: np.ndarray, metric: str, count: int) -> float:
    others = sorted(distance(train[i], y, metric) for y, own in zip(train, clip, strict=True) if own != clip[i])
    return float(np.mean(others[:count]))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("form", ["ratio", "difference"])
@pytest.mark.parametrize(("density_neighbours", "used"), [(1, 1), (4, 4), (16, 15)])
@pytest.mark.parametrize("windows_of_a_clip", [1, 3])
def test_local_density_is_the_published_formula(
    metric: str, form: str, density_neighbours: int, used: int, windows_of_a_clip: int
) -> None:
    clip = np.arange(60) // windows_of_a_clip
    radii = [radius(TRAIN, i, clip, metric, used) for i in range(60)]
    expected = []
    for x in TEST:
        pairs = [(distance(x, y, metric), r) for y, r in zip(TRAIN, radii, strict=True)]
        expected.append(min(d / r if form == "ratio" else d - r for d, r in pairs))
    rows = None if windows_of_a_clip == 1 else Rows(clip)
    ours = knn(TRAIN, rows, metric=metric, local_density=form, n_density_neighbors=density_neighbours)
    np.testing.assert_allclose(ours.score(TEST), expected, rtol=1e-9)


@pytest.mark.parametrize(("given", "name"), [(True, "nearest"), ("nearest", "nearest"), (False, "off"), ("off", "off")])
@pytest.mark.parametrize("neighbours", [1, 3])
def test_former_values_of_local_density_keep_their_meaning(given: Any, name: str, neighbours: int) -> None:
    detector = knn(TRAIN, local_density=given, n_density_neighbors=4, n_neighbors=neighbours)
    assert detector.get_params()["local_density"] == name
    radii = [radius(TRAIN, i, np.arange(60), "euclidean", 4) if name == "nearest" else 1.0 for i in range(60)]
    expected = []
    for x in TEST:
        nearest = sorted((distance(x, y, "euclidean"), i) for i, y in enumerate(TRAIN))[:neighbours]
        expected.append(np.mean([d for d, _ in nearest]) / np.mean([radii[i] for _, i in nearest]))
    np.testing.assert_allclose(detector.score(TEST), expected, rtol=1e-9)


def test_a_state_from_before_there_were_banks_scores_the_same() -> None:
    detector = knn(TRAIN, local_density="nearest")
    state = {name: detector.get_state()[name] for name in ("windows_", "radii_", "dimension_")}
    former = create("detector", "knn", {"local_density": True})
    former.set_state(state)
    np.testing.assert_array_equal(former.score(TEST), detector.score(TEST))
    with pytest.raises(ModelFileError, match=r"^knn: the model lacks radii_; it is damaged"):
        create("detector", "knn").set_state({"windows_": state["windows_"], "dimension_": state["dimension_"]})


@pytest.mark.parametrize("form", ["ratio", "difference", "nearest"])
def test_local_density_does_not_punish_a_sparse_condition(form: str) -> None:
    dense, sparse = RNG.normal(0, 0.1, (200, 5)), RNG.normal(10, 2.0, (40, 5))
    train = np.concatenate([dense, sparse])
    anomaly_near_dense, normal_sparse = np.full((1, 5), 0.5), RNG.normal(10, 2.0, (50, 5))
    plain, local = knn(train, local_density="off"), knn(train, local_density=form, n_density_neighbors=4)
    assert plain.score(anomaly_near_dense) < np.median(plain.score(normal_sparse))
    assert local.score(anomaly_near_dense) > np.median(local.score(normal_sparse))


def test_windows_of_the_same_clip_do_not_make_its_radius_small() -> None:
    clips = RNG.normal(size=(20, 5))
    clip = np.repeat(np.arange(20), 8)
    train = clips[clip] + 0.01 * RNG.normal(size=(160, 5))
    new = RNG.normal(size=(40, 5))
    assert np.median(knn(train, n_density_neighbors=4).score(new)) > 10  # near-copies: everything new is far away
    assert np.median(knn(train, Rows(clip), n_density_neighbors=4).score(new)) < 2


def test_copies_change_nothing() -> None:
    copies = np.concatenate([TRAIN, np.repeat(TRAIN[:40], 9, axis=0)])
    np.testing.assert_allclose(knn(copies).score(TEST), knn(TRAIN).score(TEST), rtol=1e-9)
    assert knn(copies).score(TRAIN[:1]) == 0


@pytest.mark.parametrize("form", ["ratio", "difference"])
def test_near_copies_do_not_make_every_clip_an_alarm(form: str) -> None:
    near = np.concatenate([TRAIN, TRAIN[:40] + 1e-9])
    normal, anomalous = RNG.normal(size=(50, 5)), RNG.normal(size=(50, 5)) + 6
    detector = knn(near, local_density=form, n_density_neighbors=1)
    assert np.isfinite(detector.score(normal)).all()
    assert np.median(detector.score(anomalous)) > detector.score(normal).max()


def test_nearest_of_nothing_but_copies_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        knn(np.repeat(TRAIN[:3], 5, axis=0), local_density="nearest")
    assert str(caught.value) == (
        "knn: every training window has 3 or more copies, which makes the local density infinite; "
        "check for repeated recordings or use --detector.local_density off"
    )


@pytest.mark.parametrize("count", [2, 3, 5, 8])
@pytest.mark.parametrize("form", ["ratio", "difference", "nearest"])
def test_fewer_references_than_neighbours_take_a_quarter_of_them(count: int, form: str) -> None:
    few = knn(TRAIN[:count], local_density=form)
    explicit = knn(TRAIN[:count], local_density=form, n_density_neighbors=max(1, count // 4))
    np.testing.assert_array_equal(few.score(TEST), explicit.score(TEST))


def test_windows_of_one_clip_alone_are_taken_one_by_one() -> None:
    np.testing.assert_array_equal(knn(TRAIN, Rows(np.zeros(60, np.int64))).score(TEST), knn(TRAIN).score(TEST))


def test_too_few_windows_for_the_neighbours() -> None:
    with pytest.raises(DataError) as caught:
        knn(TRAIN[:5], n_neighbors=8)
    assert str(caught.value) == "knn: 5 windows for 8 neighbours; record more or use --detector.n_neighbors 2"


def states(seed: int, counts: tuple[int, int] = (60, 12)) -> tuple[np.ndarray, np.ndarray]:
    """Two states of a machine: one that varies little, and one that varies much and is rarely recorded."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0, 0.2, (counts[0], 5)), rng.normal(8, 2.0, (counts[1], 5))])
    return values, np.repeat([0, 1], counts)


@pytest.mark.parametrize("groups", ["labels", "kmeans"])
@pytest.mark.parametrize("form", ["off", "ratio", "difference"])
def test_each_group_scores_by_its_own_spread(groups: str, form: str) -> None:
    train, group = states(1)
    detector = knn(train, Rows(np.arange(72), group), groups=groups, n_groups=2, local_density=form)
    assert detector.location_.shape == (2,)
    test, state = states(2, (50, 50))
    normal = detector.score(test)
    assert abs(np.median(normal[state == 0]) - np.median(normal[state == 1])) < 1.5  # in deviations
    assert detector.score(np.full((1, 5), 0.8)) > np.median(normal[state == 1])  # off the quiet state, inside neither


def test_the_score_is_the_least_of_the_groups_own_normalised_scores() -> None:
    train, group = states(1)
    detector = knn(train, Rows(np.arange(72), group), groups="labels", n_density_neighbors=4)
    expected = []
    for own in (0, 1):
        part = train[group == own]
        count = min(4, len(part) // 4)
        radii = np.array([radius(part, i, np.arange(len(part)), "euclidean", count) for i in range(len(part))])
        between = np.linalg.norm(part[:, None] - part, axis=2)
        np.fill_diagonal(between, np.inf)
        left_out = (between / radii).min(axis=1)
        scores = (np.linalg.norm(TEST[:, None] - part, axis=2) / radii).min(axis=1)
        expected.append((scores - left_out.mean()) / left_out.std())
    np.testing.assert_allclose(detector.score(TEST), np.min(expected, axis=0), rtol=1e-9)


@pytest.mark.parametrize("form", ["ratio", "difference", "nearest", "off"])
def test_a_group_of_one_clip_and_clips_of_unknown_group(form: str) -> None:
    train, group = states(1)
    lone = np.full((3, 5), -20.0) + 0.01 * RNG.normal(size=(3, 5))
    values = np.concatenate([train, lone])
    clip = np.concatenate([np.arange(72), [72, 72, 72]])
    labels = np.concatenate([np.where(np.arange(72) % 3 == 0, -1, group), [7, 7, 7]])
    detector = knn(values, Rows(clip, labels), groups="labels", local_density=form)
    assert detector.location_.shape == (4,)  # unknown, two states, the lone clip
    normal = detector.score(states(2)[0])
    assert detector.score(np.full((1, 5), -20.0))[0] <= normal.max()  # what was recorded once is normal there
    assert detector.score(np.full((1, 5), 40.0))[0] > normal.max()


def test_groups_of_nothing_but_lone_clips_are_one_bank() -> None:
    detector = knn(TRAIN[:9], Rows(np.arange(9), np.arange(9)), groups="labels")
    plain = knn(TRAIN[:9])
    np.testing.assert_allclose(
        detector.score(TEST) * detector.scale_[0] + detector.location_[0], plain.score(TEST), rtol=1e-9
    )


@pytest.mark.parametrize("group", [None, np.full(60, -1)])
def test_groups_by_labels_need_a_label(group: np.ndarray | None) -> None:
    with pytest.raises(ConfigError) as caught:
        knn(TRAIN, Rows(np.arange(60), group), groups="labels")
    assert str(caught.value) == (
        "knn: groups is 'labels', but no clip's group is known; name the groups of the clips, or use "
        "--detector.groups kmeans or none"
    )


def test_more_clusters_than_the_references_allow_are_fewer() -> None:
    assert len(knn(TRAIN[:10], groups="kmeans", n_groups=50).location_) == 2


@pytest.mark.parametrize("groups", ["none", "labels", "kmeans"])
def test_order_and_batch_of_windows_do_not_matter_and_a_state_restores_the_scores(groups: str) -> None:
    train, group = states(1)
    detector = knn(train, Rows(np.arange(72), group), groups=groups, n_groups=3)
    whole = detector.score(TEST)
    np.testing.assert_allclose([detector.score(x[None])[0] for x in TEST], whole, rtol=1e-9)
    np.testing.assert_allclose(detector.score(TEST[::-1])[::-1], whole, rtol=1e-9)
    restored: Any = create("detector", "knn", detector.get_params())
    restored.set_state({name: np.array(value) for name, value in detector.get_state().items()})
    np.testing.assert_array_equal(restored.score(TEST), whole)


def test_scoring_by_clusters_imports_no_scikit_learn(tmp_path: Any) -> None:
    np.savez(tmp_path / "state.npz", **knn(TRAIN, groups="kmeans").get_state())
    script = (
        "import sys, numpy as np\n"
        "from asd.plugin import create\n"
        "detector = create('detector', 'knn', {'groups': 'kmeans'})\n"
        "detector.set_state(dict(np.load('state.npz')))\n"
        "print(len(detector.score(np.ones((3, 5)))), 'sklearn' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "3 False\n"


def test_the_state_is_the_references_and_their_radii() -> None:
    values = RNG.normal(size=(1000, 384)).astype(np.float32)
    state = knn(values, Rows(np.arange(1000))).get_state()
    assert sum(array.nbytes for array in state.values()) < 1.05 * values.nbytes
