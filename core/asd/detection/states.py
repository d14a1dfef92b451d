"""Operating states of a machine, such as speeds or loads: a monitor compares a clip with those of its own state.

States are named at the fit, by ``group``, or found by the sound of the clips (`asd.detection.clusters`). A clip that is
judged belongs to the state that its user names; if none is named, to the one whose training clips its embedding is
nearest to: each dimension of the branches' embeddings is measured in deviations within a state, 3 at most. The
embedding decides, not the score: a fault raises the score and would pass for a louder state.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from asd.detection.clusters import found_states
from asd.detection.groups import FOLDER
from asd.errors import ConfigError, DataError
from asd.records import Clip, Float64, Int64

if TYPE_CHECKING:
    from asd.detection.config import ResolvedConfig

MOST = 50
"""More groups than this are no operating states, and are left to the detectors."""
UNKNOWN = "unknown"
"""What a clip's state is called that nobody named and no embedding tells."""
_FEWEST = 2
"""Clips of a state: one alone does not say how such clips vary."""
_LONGEST = 300
_NAMED = 5
_FLOOR = 1e-3
"""Least deviation within a state, as a part of the deviation of all clips."""
_FAR = 3.0
"""Deviations from which all distances are alike: a fault that moves a few dimensions by hundreds of deviations, such as
a level, must not decide which state a clip is nearest to."""

_log = logging.getLogger("asd")


@dataclass(frozen=True)
class States:
    """What a model knows of the states of its machine.

    Parameters
    ----------
    names : tuple of str
        The states; a clip of none of them has the number ``len(names)``.
    of_clips : int64 array of shape (n_clips,)
        The state of each calibration clip.
    centres : float64 array of shape (n_states, dimension)
        Mean embedding of each state's training clips.
    spread : float64 array of shape (dimension,)
        Deviation within a state.
    told : float or None
        Part of the training clips whose own state is the nearest one, each left out of its centre; None: not known,
        as after loading.
    """

    names: tuple[str, ...]
    of_clips: Int64
    centres: Float64
    spread: Float64
    told: float | None = None

    @classmethod
    def learned(cls, names: Sequence[str | None], rows: Float64, held_out: Int64) -> Self | None:
        """Return the states of training clips; None: fewer than two, or too many to be states.

        Parameters
        ----------
        names : sequence of (str or None)
            Each clip's state; None: not known.
        rows : float64 array of shape (n_clips, dimension)
            Their embeddings by all branches, side by side.
        held_out : int64 array
            Which of the clips calibrate the model.
        """
        known = sorted({name for name in names if name is not None})
        if len(known) > MOST:
            _log.info("%d groups are too many for operating states (at most %d): a monitor keeps them together",
                      len(known), MOST)  # fmt: skip
        if not 2 <= len(known) <= MOST:
            return None
        number = {name: i for i, name in enumerate(known)}
        own = np.array([len(known) if name is None else number[name] for name in names], np.int64)
        counts = np.array([np.count_nonzero(own == i) for i in range(len(known))])
        centres = np.stack([rows[own == i].mean(axis=0) for i in range(len(known))])
        labelled = own < len(known)
        rows, number_of = rows[labelled], own[labelled]
        away = rows - centres[number_of]
        whole = rows.std(axis=0)
        spread = np.maximum(np.sqrt(np.mean(away**2, axis=0)), _FLOOR * whole)
        spread[spread == 0] = 1.0
        distance = _distances(rows, centres, spread)
        # Left out of its own centre, a clip is n / (n - 1) times as far from it; without a lone clip there is none.
        n, at = counts[number_of], np.arange(len(rows))
        farther = distance[at, number_of] * (n / np.maximum(n - 1, 1)) ** 2
        distance[at, number_of] = np.where(n > 1, farther, np.inf)
        told = float(np.mean(distance.argmin(axis=1) == number_of))
        return cls(tuple(known), own[held_out], centres, spread, told)

    @classmethod
    def restored(cls, names: Sequence[str], arrays: Mapping[str, Any]) -> Self:
        """Return the states that a model file holds."""
        return cls(tuple(names), arrays["state"], arrays["centres"], arrays["spread"])

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that a model file holds of them."""
        return {"state": self.of_clips, "centres": self.centres, "spread": self.spread}

    def counts(self) -> list[int]:
        """Return how many calibration clips are of each state."""
        return [int(np.count_nonzero(self.of_clips == number)) for number in range(len(self.names))]

    def number(self, name: str | None, row: Float64 | None) -> int:
        """Return the number of a clip's state.

        Parameters
        ----------
        name : str or None
            The state that the user names.
        row : float64 array of shape (dimension,), or None
            The clip's embedding by all branches, side by side, if it could be had.
        """
        if name in self.names:
            return self.names.index(name)
        if row is None:
            return len(self.names)
        row = row[: len(self.spread)]  # models were saved that know the first branch's embedding only
        return int(_distances(row[np.newaxis], self.centres, self.spread)[0].argmin())

    def name(self, number: int) -> str:
        """Return the name of a state by its number."""
        return self.names[number] if number < len(self.names) else UNKNOWN


def state_names(clips: Sequence[Clip], group: str | None) -> list[str | None]:
    """Return the name of each clip's state: the name of its folder, or its group by a manifest's column."""
    names = [_folder_of(clip) if group == FOLDER else clip.group for clip in clips]
    return [None if name is None else _printable(name) for name in names]


def _folder_of(clip: Clip) -> str:
    """Return the name of a clip's folder; of one that is taken from the embedding cache, the model knows it."""
    return clip.path.absolute().parent.name if clip.group is None else PurePosixPath(clip.group).name


def found_names(parts: Sequence[Float64], config: ResolvedConfig) -> list[str | None]:
    """Return the name of each clip's state, told by its sound: ``state 1`` has the most clips.

    Parameters
    ----------
    parts : sequence of float64 arrays of shape (n_clips, dimension)
        Embeddings of the clips by each branch.
    config : ResolvedConfig
        Whose `states` says how many there are.

    Raises
    ------
    DataError
        If one of so many would have a single clip.
    """
    count = config.states if isinstance(config.states, int) else None
    numbers = found_states(parts, count, config.seed)
    sizes = np.bincount(numbers).tolist()
    if count is not None and (len(sizes) < count or sizes[-1] < _FEWEST):
        found = ", ".join(map(str, sizes))
        raise DataError(
            f"{count} operating states: the sound of the {len(numbers)} clips falls into groups of {found} clips, and "
            f"a state needs {_FEWEST}; ask for fewer, record more of each state, or use --states auto"
        )
    return [f"state {number + 1}" for number in numbers]


def in_named_states(clips: Sequence[Clip], group: str, known: Sequence[str] | None) -> list[Clip]:
    """Return clips with the states that the user names for them.

    Parameters
    ----------
    clips : sequence of Clip
        Found with the manifest's column that `group` names.
    group : str
        ``"folder"``, or that column.
    known : sequence of str or None
        Those that the model knows; None: it knows no states.

    Raises
    ------
    ConfigError
        If the model knows no states.
    DataError
        If it does not know one of those named, or none is named.
    """
    if known is None:
        raise ConfigError(
            "--state names operating states, but the model knows none; fit it with --group COLUMN or --group folder"
        )
    names = state_names(clips, group)
    if not any(names):
        raise DataError(f"no clip has a state: {group!r} is a column of a CSV manifest; name the manifest as DATA")
    if odd := sorted({name for name in names if name is not None and name not in known}):
        listed = ", ".join(known[:_NAMED]) + (", …" if len(known) > _NAMED else "")
        raise DataError(
            f"state {odd[0]!r} is none of those that the model was fitted with ({listed}); name one of them, leave "
            "--state out, or fit with recordings of it, too"
        )
    return [Clip(clip.path, clip.start, clip.duration, name) for clip, name in zip(clips, names, strict=True)]


def _distances(rows: Float64, centres: Float64, spread: Float64) -> Float64:
    away = [np.minimum(np.abs(rows - centre) / spread, _FAR) for centre in centres]
    return np.stack([np.mean(each**2, axis=1) for each in away], axis=1)


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:_LONGEST]
