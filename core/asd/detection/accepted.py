"""Sound that somebody took for healthy: a bag of its own for each, beside the bag of what was watched before.

Had the clips of an alarm gone into the bag of all healthy clips, they would stay its rarer ones, and the same sound
would raise the alarm again. So each "that was normal" opens a bag, and a clip's p-value is the highest of those that it
has in any bag of its operating state. In the bag that its sound belongs to the p-value is uniform, whichever that is;
the highest is not below it. No alarm comes earlier for that, and sound that fits none of the bags is rare in all.

Three rules keep it so. In the bag of an accepted sound both ends are rare, since what is less than it is not it either:
``2 * min(p, 1 - p)``. Into which bag a clip goes is decided by the clips before it: were it decided by its own score,
the bags would lose the very scores that make a clip of their own sound rare. And it goes there after the next sixty:
a bag of few clips would else take those of a fault for its own before there was evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from asd.detection.bag import BINS, Bag
from asd.detection.monitor_state import Sound, State

MOST = 4
"""Accepted sounds of an operating state; one more is put together with the nearest."""
_WAIT = 60
"""Clips that wait to be put into the bag of an accepted sound; at first as many as it has, but not fewer than ten."""
_FEWEST = 10
_FORGET = 0.8
"""What the clip before counts for where it is decided to which bag the next one belongs: about the last five count."""
_SURE = 20.0
"""Most that one clip counts for, as a logarithm of a ratio of p-values."""
_LEAST = 1e-300
"""A p-value is above 0, or no bet could be made on it."""


class Accepted:
    """The bags of accepted sounds of a monitor.

    Parameters
    ----------
    state : State
        Of the monitor; `kept` writes into it.

    Attributes
    ----------
    bags : dict of int to (Sound, Bag)
        Each sound, by its number, with its clips.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.bags: dict[int, tuple[Sound, Bag]] = {}
        for sound in state.sounds:
            bag = self._empty()
            for number, count in sound.bag.items():
                bag.add(number, count)
            self.bags[sound.number] = (sound, bag)

    def _empty(self) -> Bag:
        return Bag(self._state.centre, self._state.width)

    @property
    def total(self) -> int:
        """Clips of all sounds."""
        return sum(bag.total + len(sound.waiting) for sound, bag in self.bags.values())

    def kept(self) -> None:
        """Write the counts into the state."""
        for sound, bag in self.bags.values():
            filled = bag.counts.nonzero()[0]
            sound.bag = dict(zip(filled.tolist(), bag.counts[filled].tolist(), strict=True))
        self._state.sounds = [sound for sound, _ in self.bags.values()]

    def of_next(self, state: int) -> int:
        """Return the number of the sound that the next clip of an operating state goes to; 0: of none of them."""
        fits = {number: sound.fit for number, (sound, _) in self.bags.items() if sound.state == state}
        best = max(fits, key=lambda number: fits[number], default=0)
        return best if best and fits[best] > 0 else 0

    def p_value(self, number: int, p_value: float, uniform: float, enough: int) -> float:
        """Return the highest p-value of a clip, and let the bags note which of them it fits.

        Parameters
        ----------
        number : int
            Bin of its score and state.
        p_value : float
            Among the clips of no accepted sound.
        uniform : float
            Between 0 and 1: splits ties.
        enough : int
            Clips of a sound from which on ranks alone tell it from others.
        """
        highest = p_value
        for sound, bag in self.bags.values():
            if sound.state != number // BINS or not bag.total:
                continue
            own = _two_sided(bag, number % BINS, uniform, enough)
            ratio = math.log(max(own, _LEAST)) - math.log(p_value)
            sound.fit = _FORGET * sound.fit + min(max(ratio, -_SURE), _SURE)
            highest = max(highest, own)
        return highest

    def watch(self, sound: int, number: int) -> None:
        """Let a clip of a bin wait for the bag of a sound, and put in the one that has waited long enough."""
        own, bag = self.bags[sound]
        own.waiting.append(number % BINS)
        while len(own.waiting) > min(_WAIT, max(bag.total, _FEWEST)):
            bag.add(own.waiting.pop(0))

    def settle(self, sound: int) -> None:
        """Put the clips that wait into the bag of a sound."""
        own, bag = self.bags[sound]
        while own.waiting:
            bag.add(own.waiting.pop(0))

    def unwatch(self, sound: int, number: int) -> None:
        """Take a clip of a bin, a late one, out of a sound again."""
        if sound not in self.bags:
            return
        own, bag = self.bags[sound]
        if number % BINS in own.waiting:
            own.waiting.remove(number % BINS)
        else:
            bag.add(number % BINS, -1)

    def add(self, sound: int, number: int, count: int = 1) -> None:
        """Add clips of a bin to a sound, or take them out; nothing happens if the sound is no longer known."""
        if sound in self.bags:
            self.bags[sound][1].add(number % BINS, count)

    def accept(self, clips: Mapping[int, int]) -> tuple[dict[int, dict[int, int]], list[int]]:
        """Take clips for healthy sounds; return what each sound was given, and which are new.

        Parameters
        ----------
        clips : mapping of int to int
            Counts by bin.
        """
        given: dict[int, dict[int, int]] = {}
        opened: list[int] = []
        for state in sorted({number // BINS for number, count in clips.items() if count > 0}):
            own = {number: count for number, count in clips.items() if number // BINS == state and count > 0}
            sound = self._place(state, _middle(own))
            if not sound:
                sound = self._open(state)
                opened.append(sound)
            given[sound] = own
            for number, count in own.items():
                self.add(sound, number, count)
            self._expect(sound)
        return given, opened

    def _place(self, state: int, middle: int) -> int:
        """Return the sound that clips around a bin belong to; 0: to none that is known."""
        known = {number: bag for number, (sound, bag) in self.bags.items() if sound.state == state and bag.total}
        for number, bag in known.items():
            filled = bag.counts.nonzero()[0]
            if filled[0] <= middle <= filled[-1]:
                return number
        if len(known) < MOST:
            return 0
        return min(known, key=lambda number: abs(_middle_of(known[number]) - middle))

    def _open(self, state: int) -> int:
        self._state.accepted_sounds += 1
        number = self._state.accepted_sounds
        self.bags[number] = (Sound(number, state), self._empty())
        return number

    def _expect(self, number: int) -> None:
        """Take the next clip for one of this sound: it has just been heard."""
        state = self.bags[number][0].state
        for sound, _ in self.bags.values():
            if sound.state == state:
                sound.fit = _SURE if sound.number == number else -_SURE

    def forget(self, state: int) -> None:
        """Forget the sounds of an operating state."""
        self.bags = {number: each for number, each in self.bags.items() if each[0].state != state}

    def drop(self, number: int) -> None:
        """Forget a sound."""
        self.bags.pop(number, None)


def _two_sided(bag: Bag, number: int, uniform: float, enough: int) -> float:
    """Return the p-value of a bin, small at both ends.

    Few clips are not told from a fault by ranks alone. While there are fewer than `enough`, a score beyond all of them
    counts as rarer the farther it is, by an exponential tail, heavier than that of most scores; its scale follows from
    the range that so many values of such tails have.
    """
    above, ties, known = bag.rank(number)
    upper = (above + uniform * (1 + ties)) / (known + 1)
    two_sided = max(2 * min(upper, 1 - upper), _LEAST)
    if known >= enough or ties:
        return two_sided
    filled = bag.counts.nonzero()[0]
    low, high = bag.score_of(int(filled[0])), bag.score_of(int(filled[-1]))
    score = bag.score_of(number)
    beyond = max(low - score, score - high)
    scale = max((high - low) / (2 * math.log(known + 1)), bag.width / 2)
    return max(two_sided * math.exp(-beyond / scale), _LEAST) if beyond > 0 else two_sided


def _middle(counts: Mapping[int, int]) -> int:
    numbers = np.array(sorted(number % BINS for number in counts))
    each = np.array([counts[number] for number in sorted(counts)])
    return int(numbers[np.searchsorted(np.cumsum(each), each.sum() / 2)])


def _middle_of(bag: Bag) -> int:
    filled = bag.counts.nonzero()[0]
    return _middle(dict(zip(filled.tolist(), bag.counts[filled].tolist(), strict=True)))
