"""Outlier estimators of scikit-learn, and all that have their methods, as detectors."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from asd.contract.checked import CheckedDetector
from asd.contract.checks import Features, name_of
from asd.contract.estimator import KEY, from_arrays, to_arrays
from asd.contract.interfaces import State
from asd.errors import ConfigError, DataError

_TRIALS = ((100, 8), (400, 64))
"""Windows and features of generated data: most estimators take the first, some need more windows or features."""


class OutlierDetector(CheckedDetector):
    """A detector made of an outlier estimator: `fit`, and `score_samples` or `decision_function`.

    As in scikit-learn, the estimator's scores are higher for what is more normal; the detector changes the sign. A
    complete detector::

        class Forest(OutlierDetector):
            def __init__(self, *, n_estimators: int = 100, seed: int = 0) -> None:
                self.n_estimators, self.seed = n_estimators, seed

            def make_estimator(self):
                return IsolationForest(n_estimators=self.n_estimators, random_state=self.seed)

    A model file keeps the constructor's parameters, and what fitting added to the estimator as arrays, without pickle.
    Values that are neither numbers, text nor arrays, such as trees, need ``pip install skops``.
    """

    _estimator: Any = None

    @abstractmethod
    def make_estimator(self) -> Any:
        """Return a new estimator, as the constructor's parameters say; the same each time but for what is random."""

    def check_saveable(self) -> None:
        """Try the estimator on a few generated windows; if it cannot learn from them, nothing is reported.

        Raises
        ------
        ConfigError
            If what it learns cannot be kept in a model file.
        """
        for shape in _TRIALS:
            estimator = self._made()
            windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    estimator.fit(windows)
                except Exception:  # it needs other windows, or has a mistake that `fit` will show
                    continue
            to_arrays(name_of(self), estimator)
            return

    def _made(self) -> Any:
        estimator = self.make_estimator()
        if not (hasattr(estimator, "fit") and _scoring(estimator)):
            raise ConfigError(
                f"{name_of(self)}: make_estimator returned {type(estimator).__name__}, which lacks fit, or both of "
                "score_samples and decision_function; return an outlier estimator "
                "(LocalOutlierFactor with novelty=True)"
            )
        return estimator

    def _learn(self, features: Features) -> None:
        estimator = self._made()
        try:
            estimator.fit(features)
        except ValueError as error:
            windows, dimension = features.shape
            raise DataError(
                f"{name_of(self)}: {type(estimator).__name__} cannot learn from {windows} windows of {dimension} "
                f"features: {str(error).strip().partition(chr(10))[0]}"
            ) from error
        self._estimator = estimator

    def _score(self, features: Features) -> Any:
        return np.negative(_scoring(self._estimator)(features))

    def get_state(self) -> State:
        """Return what was learned; errors as for `check_saveable`."""
        return {**super().get_state(), **to_arrays(name_of(self), self._estimator)}

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned.

        Raises
        ------
        ModelFileError
            If arrays are missing or damaged, belong to another estimator, or take skops, which is not installed.
        """
        super().set_state({name: array for name, array in state.items() if not name.startswith(KEY)})
        estimator = self._made()
        from_arrays(name_of(self), estimator, state)
        self._estimator = estimator


class _EstimatorDetector(OutlierDetector):
    """The detector of a class of estimators, whose parameters are its own, and a seed of what they leave to chance."""

    estimator_class: ClassVar[type]

    def __init__(self, **parameters: Any) -> None:
        self._parameters = {**_defaults(self.estimator_class), "seed": 0, **parameters}

    def get_params(self) -> dict[str, Any]:
        """Return the estimator's parameters and the seed."""
        return dict(self._parameters)

    def make_estimator(self) -> Any:
        """Return a new estimator; every ``random_state`` that was left open, its steps' too, is the seed."""
        parameters = copy.deepcopy(self._parameters)  # a pipeline's steps are fitted in place
        seed = parameters["seed"] if "seed" in _defaults(self.estimator_class) else parameters.pop("seed")
        estimator = self.estimator_class(**parameters)
        for name, value in _settings_of(estimator).items():
            if value is None and name.rpartition("__")[2] == "random_state":
                estimator.set_params(**{name: seed})
        return estimator


def detector_of(given: Any) -> type[OutlierDetector]:
    """Return the detector class of an outlier estimator, or of a class of them.

    Raises
    ------
    ConfigError
        If it gives no scores, or gives them with the other sign.
    """
    cls = given if isinstance(given, type) else type(given)
    if any(base.__module__.partition(".")[0] == "pyod" for base in cls.__mro__):
        raise ConfigError(
            f"detector {cls.__name__}: PyOD's scores are higher for what is less normal, unlike scikit-learn's; derive "
            "a detector from asd.plugin.CheckedDetector that returns them as they are"
        )
    estimator = given
    if isinstance(given, type):
        needed = [name for name, value in _signature(cls).items() if value is inspect.Parameter.empty]
        if needed:
            raise ConfigError(f"detector {cls.__name__} needs {needed[0]}: give an object, {cls.__name__}(...)")
        estimator = cls()
    if _scoring(estimator) is None:
        hint = "; LocalOutlierFactor needs novelty=True" if cls.__name__ == "LocalOutlierFactor" else ""
        raise ConfigError(
            f"detector {cls.__name__}: an estimator without scores: it has neither score_samples nor decision_function"
            f"{hint}"
        )
    return class_of(cls)


def parameters_of_estimator(given: Any) -> dict[str, Any]:
    """Return the parameters of an estimator; of a class none."""
    found: dict[str, Any] = {} if isinstance(given, type) else given.get_params(deep=False)
    return found


@functools.cache
def class_of(cls: type) -> type[OutlierDetector]:
    """Return the detector class of a class of estimators, which may or may not give scores."""

    def __init__(self: _EstimatorDetector, **parameters: Any) -> None:  # noqa: N807  # it becomes the class's own
        _EstimatorDetector.__init__(self, **parameters)

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for name, default in {"seed": 0, **_signature(cls)}.items():
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default))
    __init__.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks for
    attributes = {"__init__": __init__, "__module__": cls.__module__, "estimator_class": cls, "name": cls.__name__}
    return type(cls.__name__, (_EstimatorDetector,), attributes)


def _signature(cls: Any) -> dict[str, Any]:
    """Return the defaults of a constructor's parameters by name; `inspect.Parameter.empty`: it has none."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {each.name: each.default for each in found if each.kind not in several}


def _defaults(cls: type) -> dict[str, Any]:
    return {name: value for name, value in _signature(cls).items() if value is not inspect.Parameter.empty}


def _settings_of(estimator: Any) -> dict[str, Any]:
    found: dict[str, Any] = estimator.get_params()
    return found


def _scoring(estimator: Any) -> Any:
    """Return the method that gives the scores, or None."""
    return getattr(estimator, "score_samples", None) or getattr(estimator, "decision_function", None)
