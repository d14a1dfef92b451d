"""Generated faults laid over real recordings, kept as files so that their embeddings are computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd.errors import DataError
from asd.experiment import AnomalyKind, Clip, content_of, read, spoil
from asd.plugin import track
from asd_bench.writing import writing

WITHOUT_LEVEL: AnomalyKind = "drop-outs"
"""The kind that takes sound away."""


@dataclass(frozen=True)
class Fault:
    """A recording of a healthy machine with a generated fault.

    Parameters
    ----------
    source : Path
        The healthy recording.
    kind : str
        One of `asd.experiment.ANOMALY_KINDS`.
    level : float or None
        Strength in dB over the recording; None: the kind has none.
    path : Path
        Where the faulty recording is.
    """

    source: Path
    kind: AnomalyKind
    level: float | None
    path: Path


def generated(
    sources: Sequence[Path], kinds: Sequence[AnomalyKind], levels: Sequence[float], folder: Path
) -> list[Fault]:
    """Return faulty versions of healthy recordings, one for each kind and level; those that are not there are written.

    Parameters
    ----------
    sources : sequence of Path
        Healthy recordings; of several channels the first is taken.
    kinds : sequence of str
        Kinds of faults.
    levels : sequence of float
        Strengths in dB over the recording.
    folder : Path
        Where the faulty recordings are kept, as FLAC of 24 bits.

    Raises
    ------
    DataError
        If they cannot be written.
    """
    faults = [fault for source in sources for fault in _faults(source, kinds, levels, folder)]
    absent = [fault for fault in faults if not fault.path.exists()]
    if absent:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    for fault in track(absent, "generating faults", len(absent)):
        _write(fault)
    return faults


def _faults(source: Path, kinds: Sequence[AnomalyKind], levels: Sequence[float], folder: Path) -> Iterator[Fault]:
    content = content_of(source)
    for kind in kinds:
        for level in (None,) if kind == WITHOUT_LEVEL else levels:
            strength = "" if level is None else f" {level:g} dB"
            yield Fault(source, kind, level, folder / f"{content[:16]} {kind}{strength}.flac")


def _write(fault: Fault) -> None:
    import soundfile

    # The seed is the recording's and the kind's: a fault at another level is the same fault.
    seed = int(hashlib.sha256(f"{fault.path.name[:16]} {fault.kind}".encode()).hexdigest()[:8], 16)
    sound = spoil(read(Clip(fault.source)), fault.kind, level=fault.level or 0.0, seed=seed)
    part = fault.path.with_suffix(".part")
    with writing(fault.path):
        try:
            soundfile.write(part, sound.audio.samples[0], sound.audio.sample_rate, format="FLAC", subtype="PCM_24")
        except soundfile.LibsndfileError as error:
            raise DataError(f"{fault.path}: cannot write it ({error})") from error
        part.replace(fault.path)
