"""What is learned and judged of each machine: draws, leave-one-out, groups that are left out, generated faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from asd.errors import DataError
from asd_bench.machines.collection import Machine

Protocol = Literal["real", "group", "generated", "test"]

FEW = 10
"""With fewer healthy clips, each is left out in turn; with more, some are drawn."""

LEAST_TO_LEARN = 5
"""With fewer clips to learn from, those of other machines of the type are added."""

_SHARE = 0.7
_OTHERS = 6
"""Most clips that each other machine of the type adds."""


@dataclass(frozen=True)
class Comparison:
    """A pipeline learns from some clips, and its scores of others are compared.

    Parameters
    ----------
    machine : Machine
        The machine.
    protocol : {"real", "group", "generated", "test"}
        What the anomalous clips are: real faults; clips of a group that was left out; healthy clips with generated
        faults; the data set's own test.
    part : str
        Which draw, clip or group.
    train, normal, anomalous : tuple of Path
        Healthy clips to learn from, and clips to tell apart. Of ``"generated"`` the anomalous clips are the healthy
        ones that get faults.
    """

    machine: Machine
    protocol: Protocol
    part: str
    train: tuple[Path, ...]
    normal: tuple[Path, ...]
    anomalous: tuple[Path, ...]


def plan(machines: Sequence[Machine], *, draws: int, recordings: int, seed: int) -> list[Comparison]:
    """Return the comparisons of all machines.

    Parameters
    ----------
    machines : sequence of Machine
        The machines.
    draws : int
        How often clips to learn from are drawn, of a machine with ten healthy clips or more.
    recordings : int
        Healthy recordings of a machine that get generated faults.
    seed : int
        Seed of the drawing.

    Raises
    ------
    DataError
        If a machine and the others of its type have too few healthy clips.
    """
    found: list[Comparison] = []
    for machine in machines:
        rng = np.random.default_rng([seed, len(machine.normal)])
        if len(machine.normal) < FEW:
            found += _left_out(machine, machines, recordings)
        else:
            found += _drawn(machine, draws, recordings, rng)
        found += _groups_left_out(machine, rng)
        if machine.test_normal and machine.test_anomalous:
            clips = (machine.normal, machine.test_normal, machine.test_anomalous)
            found.append(Comparison(machine, "test", "test", *clips))
    return found


def _drawn(machine: Machine, draws: int, recordings: int, rng: np.random.Generator) -> list[Comparison]:
    found = []
    for draw in range(draws if machine.anomalous else 1):
        train, held_out = _split(machine.normal, rng)
        if machine.anomalous:
            found.append(Comparison(machine, "real", f"draw {draw + 1}", train, held_out, machine.anomalous))
        if draw == 0:
            found.append(Comparison(machine, "generated", "", train, held_out, _spread(held_out, recordings)))
    return found


def _split(normal: Sequence[Path], rng: np.random.Generator) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the clips to learn from, drawn, and the others, in order."""
    learned = set(rng.permutation(len(normal))[: round(_SHARE * len(normal))].tolist())
    return (
        tuple(path for i, path in enumerate(normal) if i in learned),
        tuple(path for i, path in enumerate(normal) if i not in learned),
    )


def _left_out(machine: Machine, machines: Sequence[Machine], recordings: int) -> list[Comparison]:
    others = [each for each in machines if each.collection == machine.collection and each is not machine]
    added = tuple(chain.from_iterable(each.normal[:_OTHERS] for each in others))
    spoiled = _spread(machine.normal, recordings)
    found = []
    for clip in machine.normal:
        train = tuple(path for path in machine.normal if path != clip)
        train += added if len(train) < LEAST_TO_LEARN else ()
        if len(train) < LEAST_TO_LEARN:
            raise DataError(
                f"{machine.name}: {len(machine.normal)} healthy recordings, expected at least {LEAST_TO_LEARN + 1} "
                "(or other machines of its type beside it); record more of them"
            )
        if machine.anomalous:
            found.append(Comparison(machine, "real", clip.name, train, (clip,), machine.anomalous))
        faulty = (clip,) if clip in spoiled else ()
        found.append(Comparison(machine, "generated", clip.name, train, (clip,), faulty))
    return found


def _groups_left_out(machine: Machine, rng: np.random.Generator) -> list[Comparison]:
    """Return comparisons of a group that is left out of training with clips of the others."""
    found = []
    for group, clips in machine.groups.items():
        known = [path for path in machine.normal if path not in set(clips)]
        train, normal = _split(known, rng)
        if len(train) >= LEAST_TO_LEARN:
            found.append(Comparison(machine, "group", group, train, normal, clips))
    return found


def _spread(clips: Sequence[Path], count: int) -> tuple[Path, ...]:
    """Return `count` clips at even distances, or all."""
    chosen: Mapping[int, None] = dict.fromkeys(np.linspace(0, len(clips) - 1, min(count, len(clips))).astype(int))
    return tuple(clips[index] for index in chosen)
