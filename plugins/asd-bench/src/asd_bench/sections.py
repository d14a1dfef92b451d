"""The machine sections of a benchmark: the clips that one detector is trained and tested on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asd.errors import DataError
from asd.experiment import content_of
from asd.plugin import Recording
from asd_bench.recipe import Recipe, Split


@dataclass(frozen=True)
class MachineSection:
    """Clips that one detector is trained and tested on: a machine's, a section's, or those at one noise level.

    Parameters
    ----------
    name : str
        Machine, section and whatever else distinguishes the clips, such as ``fan/00``.
    machine : str
        Machine type.
    train, test : tuple of Recording
        The clips.
    """

    name: str
    machine: str
    train: tuple[Recording, ...]
    test: tuple[Recording, ...]

    @property
    def paths(self) -> list[Path]:
        """The files of all clips, in order."""
        return sorted({recording.path for recording in (*self.train, *self.test)})

    @cached_property
    def digest(self) -> str:
        """Digest of the clips: their contents, in order, and their sections, domains and labels."""
        return hashlib.sha256(json.dumps([self._contents(self.train), self._contents(self.test)]).encode()).hexdigest()

    @cached_property
    def test_digest(self) -> str:
        """The same of the test clips alone."""
        return hashlib.sha256(json.dumps(self._contents(self.test)).encode()).hexdigest()

    def _contents(self, recordings: Sequence[Recording]) -> list[object]:
        return [[content_of(r.path), r.section, r.domain, r.anomalous] for r in recordings]


def sections_of(recipe: Recipe, recordings: Sequence[Recording], seed: int) -> list[MachineSection]:
    """Return the machine sections of a recipe's data for one seed.

    Raises
    ------
    DataError
        If the dataset has no official split and the recipe asks for it, or nothing is left to train or test on.
    """
    grouped: dict[tuple[str, ...], list[Recording]] = {}
    for recording in recordings:
        grouped.setdefault(tuple(_value(recording, name) for name in recipe.units), []).append(recording)
    found = []
    for names, own in sorted(grouped.items()):
        name = "/".join(filter(None, names)) or "machine"
        train, test = _official(own, name) if recipe.split.kind == "official" else _balanced(own, recipe.split, seed)
        if not train or not test:
            raise DataError(
                f"{name}: found {len(train)} training clips and {len(test)} test clips, expected some of each; is the "
                "data complete, and does the recipe's split suit it?"
            )
        found.append(MachineSection(name, own[0].machine, tuple(train), tuple(test)))
    return found


def _value(recording: Recording, name: str) -> str:
    if name in ("machine", "section"):
        return str(getattr(recording, name))
    return recording.attributes.get(name, "")


def _official(recordings: list[Recording], name: str) -> tuple[list[Recording], list[Recording]]:
    if any(recording.split is None for recording in recordings):
        raise DataError(
            f'{name}: the data has no split into train and test; set split = "balanced" in the recipe, or put the '
            "recordings into folders train and test"
        )
    train = [r for r in recordings if r.split == "train" and r.anomalous is not True]
    return train, [r for r in recordings if r.split == "test"]


def _balanced(recordings: list[Recording], split: Split, seed: int) -> tuple[list[Recording], list[Recording]]:
    rng = np.random.default_rng(seed)
    normal = [r for r in recordings if r.anomalous is False]
    faulty = [r for r in recordings if r.anomalous]
    count = min(len(faulty), split.count or len(faulty))
    if len(normal) <= count:
        raise DataError(
            f"{len(normal)} normal and {len(faulty)} anomalous clips: a balanced test takes {count} normal ones and "
            'leaves none to train on; set split = { kind = "balanced", normal = N } with a smaller N'
        )
    held_out = set(rng.permutation(len(normal))[:count].tolist())
    test = [r for i, r in enumerate(normal) if i in held_out]
    test += [faulty[i] for i in sorted(rng.permutation(len(faulty))[:count])]
    return [r for i, r in enumerate(normal) if i not in held_out], test
