"""Evidence that a machine has changed, added up over clips, with a promise on how rarely it misleads.

A clip's p-value is uniform while healthy clips are exchangeable, if it ranks the clip among all healthy clips before
it and splits ties at random (Vovk, Nouretdinov, Gammerman 2003, Testing exchangeability on-line, ICML). A bet turns it
into an e-value, whose mean is then 1: the bets ``b * p ** (b - 1)`` and ``1 + c * (1 - 2 * p)``. The Shiryaev–Roberts
statistic of a bet, ``R = (1 + R) * e``, adds e-values up; ``R`` minus the number of clips is a martingale, and so is
its mean over the bets, whatever their shares, so that the mean number of clips to ``R >= A`` is at least ``A`` (Vovk et
al. 2021, Retrain or not retrain: conformal test martingales for change-point detection, COPA; Shin, Ramdas, Rinaldo
2023, E-detectors).
docs/explanation/alarms.md has the proof.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from asd.records import Float64

_POWERS: Float64 = np.array([0.1, 0.3, 0.5, 0.7])
"""Exponents: small ones win much on rare p-values, large ones a little on those that are lowish."""
_SLOPES: Float64 = np.array([0.4, 0.6, 0.9])
"""Of the linear bets, which win where p-values are below a half more often, but none is rare."""
POWER_BETS = len(_POWERS)
BETS = len(_POWERS) + len(_SLOPES)
_SHARES: Float64 = np.array([1, 1, 1, 2, 5, 4, 3])
_LOG_SHARES: Float64 = np.log(_SHARES / _SHARES.sum())
"""Parts of the stake. A bet that holds 1/17 of it instead of 1/7 needs 0.9 more in log R: less than a clip of a fault
by three deviations, which wins more than 1 a clip, but twelve clips of one that wins 0.07. So small faults get most."""
_SHARES_LISTED: list[float] = _LOG_SHARES.tolist()
_POWERS_LISTED: list[tuple[float, float]] = [(b - 1, math.log(b)) for b in _POWERS.tolist()]
_SLOPES_LISTED: list[float] = _SLOPES.tolist()
_UNIFORM: Float64 = (np.arange(16) + 0.5) / 16
_PATIENCE = 1000
"""Clips of a fault after which its p-values no longer stand out from those of its own earlier clips."""


def log_bets(p_value: float | Float64) -> Float64:
    """Return the natural logarithms of the e-values of each p-value, above 0, by each bet, float64[..., `BETS`]."""
    value = np.asarray(p_value, np.float64)[..., np.newaxis]
    powers = np.log(value) * (_POWERS - 1) + np.log(_POWERS)
    return np.concatenate([powers, np.log1p(_SLOPES * (1 - 2 * value))], axis=-1)


def log_bets_on(p_value: float) -> list[float]:
    """Return the same for one p-value; arrays of one would take most of the time of a monitor's update."""
    log_p, linear = math.log(p_value), 1 - 2 * p_value
    powers = [log_p * power + log_b for power, log_b in _POWERS_LISTED]
    return powers + [math.log1p(slope * linear) for slope in _SLOPES_LISTED]


def shiryaev_roberts(log_e: Float64) -> Float64:
    """Return log R after each clip, in logarithms because R may exceed every floating point number.

    Parameters
    ----------
    log_e : float64 array of shape (n, BETS)
        Logarithms of the e-values, in time along the first axis.

    Returns
    -------
    float64 array of shape (n,)
        Of the mean of R over the bets, each by its share.
    """
    total = np.cumsum(log_e, axis=0)
    before = np.concatenate([np.zeros_like(log_e[:1]), total[:-1]])
    each = total + np.logaddexp.accumulate(-before, axis=0)
    return np.asarray(np.logaddexp.reduce(each + _LOG_SHARES, axis=1))


def healthy_clips_needed(log_threshold: float) -> int:
    """Return how many healthy clips must be known before even an unmistakable fault can raise the alarm.

    Clip t of a fault that is above all n healthy ones ranks among the t of its own: its p-value is uniform up to
    ``t / (n + t)``. The evidence of these falls again once the fault's clips are no longer few.
    """
    few, many = 0, 1
    while not _reaches(many, log_threshold):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _reaches(middle, log_threshold) else (middle, many)
    return many


def _reaches(healthy: int, log_threshold: float) -> bool:
    clip: npt.NDArray[np.float64] = np.arange(1.0, min(2 * healthy, _PATIENCE) + 1)
    highest = clip / (healthy + clip)
    evidence = shiryaev_roberts(log_bets(highest[:, np.newaxis] * _UNIFORM).mean(axis=1))
    return bool(evidence.max() >= log_threshold)


def log_sum(one: float, other: float) -> float:
    """Return the logarithm of the sum of two numbers whose logarithms are given."""
    high, low = (one, other) if one > other else (other, one)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def staked(logs: list[float]) -> list[float]:
    """Return the logarithms of what the bets have won with their shares of the stake; its sum is the evidence."""
    return [log + share for log, share in zip(logs, _SHARES_LISTED, strict=True)]


def log_mean(logs: list[float]) -> float:
    """Return the logarithm of the mean of numbers whose logarithms are given."""
    return log_total(logs) - math.log(len(logs))


def log_total(logs: list[float]) -> float:
    """Return the logarithm of the sum of numbers whose logarithms are given."""
    high = max(logs)
    if high == -math.inf:
        return high
    return high + math.log(sum([math.exp(each - high) for each in logs]))
