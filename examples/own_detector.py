"""Distance from the mean of the healthy windows: asd fit DATA --plugin-file own_detector.py --detector distance."""

from asd import Detector
from asd_registry import ComponentSpec, hookimpl


class Distance(Detector):
    def fit(self, features):
        self.centre_ = features.mean(axis=0, dtype="float64")
        return self

    def score(self, features):
        return abs(features - self.centre_).sum(axis=1)


@hookimpl
def asd_components():
    spec = {"kind": "detector", "name": "distance", "summary": "Distance from the usual", "licence": "MIT"}
    return [ComponentSpec(target=f"{__name__}:Distance", **spec)]
