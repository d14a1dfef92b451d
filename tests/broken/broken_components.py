"""One component for each way to break a promise, beside one of each kind that keeps them all."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from asd.contract.interfaces import Dataset, Detector, Extractor, Frontend, State
from asd.errors import ConfigError, DataError
from asd.records import Audio, Float32, Float64, Recording, Representation, Windows


class SoundDetector(Detector):
    def __init__(self, *, power: float = 2.0, seed: int = 0) -> None:
        self.power = power
        self.seed = seed

    def fit(self, features: Float32) -> Self:
        self.centre_ = features.mean(axis=0, dtype=np.float64)
        self.spread_ = features.std(axis=0, dtype=np.float64) + 1e-6
        return self

    def score(self, features: Float32) -> Float64:
        if not hasattr(self, "centre_"):
            raise ConfigError("sound-detector: not fitted yet; call fit before scoring")
        return (np.abs((features - self.centre_) / self.spread_) ** self.power).sum(axis=1)


class SoundFrontend(Frontend):
    sample_rate = 8000

    @property
    def produces(self) -> Representation:
        return Representation("vector", (10,), self.sample_rate)

    @property
    def window_length(self) -> int | None:
        return 1000

    @property
    def window_hop(self) -> int:
        return 500

    def __call__(self, audio: Audio) -> Windows:
        cut = np.lib.stride_tricks.sliding_window_view(audio.samples[0], 1000)[::500]
        parts = cut.reshape(len(cut), 10, 100)
        values = np.log10((parts.astype(np.float64) ** 2).mean(axis=2) + 1e-10).astype(np.float32)
        return Windows(values, np.arange(len(values)) * 0.0625, 0.125)


class SoundExtractor(Extractor):
    @property
    def consumes(self) -> Representation:
        return Representation("vector", (10,), 8000)

    @property
    def dimension(self) -> int:
        return 5

    def embed(self, values: Any) -> Float32:
        pairs = np.asarray(values).reshape(-1, 5, 2)
        return np.tanh(pairs.mean(axis=2) / 10).astype(np.float32)


class SoundDataset(Dataset):
    def recordings(self, folder: Path) -> Sequence[Recording]:
        paths = sorted(folder.glob("normal/*.wav"))
        if not paths:
            raise DataError(f"{folder}: found no normal/*.wav; expected the folder of sound-dataset")
        return [Recording(path, machine="fan", anomalous=False) for path in paths]

    @classmethod
    def write_example(cls, folder: Path) -> None:
        (folder / "normal").mkdir()
        for number in range(3):
            (folder / "normal" / f"{number}.wav").touch()


class LyingExtractor(SoundExtractor):
    """Declared with dimension 7 by its plugin."""


class BoastingExtractor(SoundExtractor):
    @property
    def dimension(self) -> int:
        return 7


class Changing(SoundDetector):
    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__(power=abs(power))


class Forgetting(SoundDetector):
    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__()
        del self.power


class Unwritable(SoundDetector):
    def __init__(self, *, folder: Path = Path("here")) -> None:
        super().__init__()
        self.folder = folder


class Untyped(SoundDetector):
    def __init__(self, *, bands=(1, 2)) -> None:  # type: ignore[no-untyped-def]  # that is its mistake
        super().__init__()
        self.bands = bands


class Unpicklable(SoundDetector):
    def __init__(self) -> None:
        super().__init__()
        self._root = lambda value: value**0.5


class Single(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return super().score(features).astype(np.float32)  # type: ignore[return-value]  # that is its mistake


class OneTooMany(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return np.append(super().score(features), 0.0)


class OneTooFew(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return super().score(features)[:-1]


class OneForAll(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return super().score(features).max(keepdims=True)


class Scalar(SoundDetector):
    def score(self, features: Float32) -> Any:
        return float(super().score(features).max())


class Listing(SoundDetector):
    def score(self, features: Float32) -> Any:
        return super().score(features).tolist()


class Columns(SoundDetector):
    def score(self, features: Float32) -> Any:
        return super().score(features)[:, np.newaxis] + np.zeros(2)


class Complex(SoundDetector):
    def score(self, features: Float32) -> Any:
        return super().score(features) + 0j


class Objects(SoundDetector):
    def score(self, features: Float32) -> Any:
        return super().score(features).astype(object)


class NotANumber(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return np.where(np.arange(len(features)) == 3, np.nan, super().score(features))


class Infinite(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return np.where(np.arange(len(features)) == 3, np.inf, super().score(features))


class DoublePrecision(SoundExtractor):
    def embed(self, values: Any) -> Any:
        return super().embed(values).astype(np.float64)


class RowTooFew(SoundExtractor):
    def embed(self, values: Any) -> Float32:
        return super().embed(values)[1:]


class HalfNaN(SoundExtractor):
    def embed(self, values: Any) -> Float32:
        return np.where(np.arange(5) > 2, np.float32(np.nan), super().embed(values))


class Pair(SoundFrontend):
    def __call__(self, audio: Audio) -> Any:
        windows = super().__call__(audio)
        return type("Pair", (), {"values": windows.values, "start": windows.start})()


class Timeless(SoundFrontend):
    def __call__(self, audio: Audio) -> Windows:
        windows = super().__call__(audio)
        return Windows(windows.values, windows.start, float("nan"))


class LateStart(SoundFrontend):
    def __call__(self, audio: Audio) -> Windows:
        windows = super().__call__(audio)
        return Windows(windows.values, windows.start * np.nan, windows.duration)


class Constant(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return 0 * super().score(features)


class MissingStart(SoundFrontend):
    def __call__(self, audio: Audio) -> Windows:
        return Windows(super().__call__(audio).values, np.zeros(1), 0.125)


class InPlace(SoundDetector):
    def score(self, features: Float32) -> Float64:
        if features.flags.writeable:
            features -= features.dtype.type(0.5)
        return super().score(features)


class Writing(SoundDetector):
    def fit(self, features: Float32) -> Self:
        features += np.float32(0)
        return super().fit(features)


class SingleOnly(SoundDetector):
    def score(self, features: Float32) -> Float64:
        if features.dtype != np.float32:
            raise TypeError("float32 only")
        return super().score(features)


class Unseeded(SoundDetector):
    def fit(self, features: Float32) -> Self:
        return super().fit(features[np.random.default_rng().permutation(len(features))[:50]])


class Global(SoundDetector):
    def fit(self, features: Float32) -> Self:
        np.random.seed(0)  # that is its mistake
        return super().fit(features[np.random.permutation(len(features))[:50]])


class BatchRelative(SoundDetector):
    def score(self, features: Float32) -> Float64:
        scores = super().score(features)
        return scores / scores.max() if len(scores) else scores


class EmptyRefused(SoundExtractor):
    def embed(self, values: Any) -> Float32:
        assert len(values)
        return super().embed(values)


class Centring(SoundFrontend):
    def __call__(self, audio: Audio) -> Windows:
        windows = super().__call__(audio)
        return Windows(windows.values - windows.values.mean(), windows.start, windows.duration)


class Impatient(SoundFrontend):
    def __call__(self, audio: Audio) -> Windows:
        windows = super().__call__(audio)
        return Windows(windows.values[:100], windows.start[:100], windows.duration)


class Normalising(SoundFrontend):
    def __call__(self, audio: Audio) -> Windows:
        with np.errstate(invalid="ignore"):
            return super().__call__(Audio(audio.samples / audio.samples.std(), audio.sample_rate))


class Logarithmic(SoundDetector):
    def score(self, features: Float32) -> Float64:
        with np.errstate(divide="ignore"):
            return super().score(features) - 1e-9 * np.log(np.abs(features).sum(axis=1, dtype=np.float64))


class NaNHiding(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return np.nan_to_num(super().score(features))


class NaNSpreading(SoundExtractor):
    def embed(self, values: Any) -> Float32:
        return (super().embed(values) + 0 * np.asarray(values).sum()).astype(np.float32)


class Deaf(SoundExtractor):
    def embed(self, values: Any) -> Float32:
        return np.where(np.isnan(super().embed(values)), np.nan, np.arange(5)).astype(np.float32)


class Reversed(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return -super().score(features)


class Unlearned(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return super().score(features) if hasattr(self, "centre_") else np.zeros(len(features))


class Reading(SoundDetector):
    def __init__(self) -> None:
        super().__init__()
        self._source = Path(__file__).read_bytes()[:0]


class Stateless(SoundDetector):
    def get_state(self) -> State:
        return {name: value for name, value in super().get_state().items() if name != "spread_"}

    def set_state(self, state: State) -> None:
        super().set_state({"spread_": np.ones(1), **state})


class ProcessBound(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return super().score(features) * (1 + os.getpid())


class Calling(SoundDetector):
    def fit(self, features: Float32) -> Self:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=1).close()
        return super().fit(features)


class Littering(SoundDetector):
    def fit(self, features: Float32) -> Self:
        Path("notes-of-a-detector.txt").write_text("fitted")
        return super().fit(features)


class Hoarding(SoundDetector):
    def score(self, features: Float32) -> Float64:
        self._seen = [*getattr(self, "_seen", []), features.copy()]
        return super().score(features)


class Jealous(SoundDetector):
    def score(self, features: Float32) -> Float64:
        return super().score(features) * (2 if "broken_neighbour" in sys.modules else 1)


class Dying(SoundDetector):
    def fit(self, features: Float32) -> Self:
        if "broken_neighbour" in sys.modules:
            os._exit(70)
        return super().fit(features)


class Isolated(SoundDetector):
    isolation = "process"


class Welcoming(SoundDataset):
    def recordings(self, folder: Path) -> Sequence[Recording]:
        return [Recording(path, machine="fan") for path in sorted(folder.glob("normal/*.wav"))]


class Unordered(SoundDataset):
    def recordings(self, folder: Path) -> Sequence[Recording]:
        return super().recordings(folder)[::-1]
