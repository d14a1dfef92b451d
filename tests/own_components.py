"""Components of a user's own module, which no plugin offers: what tests give as classes and objects."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import asd


class Distance(asd.Detector):
    """Distance from the mean."""

    def __init__(self, *, power: float = 2.0) -> None:
        self.power = power

    def fit(self, features: Any) -> Distance:
        self.centre_ = features.mean(axis=0)
        return self

    def score(self, features: Any) -> Any:
        return (abs(features - self.centre_) ** self.power).sum(axis=1)


class Forgetful(Distance):
    """What it learns has a name that no model file keeps."""

    def fit(self, features: Any) -> Forgetful:
        self.centre = features.mean(axis=0)
        return super().fit(features)  # type: ignore[return-value]


class Holding(Distance):
    """What it learns is an object."""

    def fit(self, features: Any) -> Holding:
        self.helper_ = object()
        return super().fit(features)  # type: ignore[return-value]


class Helped(Distance):
    """Takes another component."""

    def __init__(self, *, helper: Any = None) -> None:
        super().__init__()
        self.helper = helper


class Silent(Distance):
    """Its fit does not return it."""

    def fit(self, features: Any) -> Any:
        super().fit(features)


@dataclasses.dataclass(frozen=True)
class Frozen(asd.Detector):
    """Its attributes cannot be set."""

    power: float = 2.0

    def fit(self, features: Any) -> Frozen:
        return self

    def score(self, features: Any) -> Any:
        return features[:, 0]


class Evasive(Distance):
    """Raises for attributes that it does not have."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name.endswith("_"):
            raise AttributeError(name)
        raise RuntimeError(name)


class Unreadable(Distance):
    """Its parameter cannot be read."""

    power = property(lambda self: 1 / 0, lambda self, value: None)  # type: ignore[assignment]


class Failing(Distance):
    """Fails with a mistake of its author."""

    def score(self, features: Any) -> Any:
        return features[0] / len(features[:0])


class Means(asd.Extractor):
    """Mean of each band of a mel patch."""

    consumes = asd.Representation("patch", (64, None))
    dimension = 64
    frontend = "mel-patch"

    def __init__(self, *, gain: float = 1.0) -> None:
        self.gain = gain

    def embed(self, values: Any) -> Any:
        return np.asarray(values.mean(axis=2) * self.gain, np.float32)


class Weighted(Means):
    """Has weights that no parameter says."""

    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__(gain=gain)
        self.weights = np.random.default_rng().normal(size=64)


class Half(asd.Frontend):
    """Half seconds of sound as vectors of levels."""

    sample_rate = 8000
    produces = asd.Representation("vector", (10,))
    window_length = 4000
    window_hop = 4000

    def __call__(self, audio: asd.Audio) -> asd.Windows:
        count = audio.samples.shape[-1] // 4000
        parts = audio.samples[0, : count * 4000].reshape(count, 10, 400)
        return asd.Windows(np.log10(np.square(parts).mean(axis=2) + 1e-9), np.arange(count) / 2, 0.5)
