"""What a monitor says after a clip."""

from __future__ import annotations

from dataclasses import dataclass

from asd.detection.monitor_state import Phase


@dataclass(frozen=True)
class Status:
    """What a monitor says after a clip.

    Parameters
    ----------
    time : float
        Time of the clip, in seconds since 1970.
    p_value : float
        Uniform between 0 and 1 while the machine sounds as before: its rank among all clips watched before, ties split
        at random.
    evidence : float
        Decimal logarithm of 1 + R, the evidence that the machine has changed; from 0.
    threshold : float
        Evidence at which the alarm is raised.
    phase : {"learning", "watching", "unlike", "alarm", "cleared"}
        ``"learning"``: too few healthy clips are known for any alarm; ``"unlike"``: watching a sound that is steady,
        but not as in the fit: a fault that was there from the start, or another state or place; or one that has
        changed slowly: a drift, or a small fault;
        ``"cleared"``: watching, after an alarm that was over by itself.
    since : float
        Time of the clip that began the phase.
    needed : int
        Healthy clips that are still to be watched before a fault can raise the alarm.
    notes : tuple of str
        What the user should know, such as a gap of days.
    """

    time: float
    p_value: float
    evidence: float
    threshold: float
    phase: Phase
    since: float
    needed: int
    notes: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        """Whether the alarm stands."""
        return self.phase == "alarm"
