import numpy as np
from asd import Detector


class MedianDeviation(Detector):
    def fit(self, features):
        self.median_ = np.median(features, axis=0)
        self.spread_ = np.median(abs(features - self.median_), axis=0) + 1e-6
        return self

    def score(self, features):
        return np.mean(abs(features - self.median_) / self.spread_, axis=1, dtype=np.float64)
