"""Tiny trees with the true names, of empty files, for `asd.testing`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def touch_files(folder: Path, names: Iterable[str]) -> None:
    """Create empty files below `folder`."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def id_names(section: str) -> list[str]:
    """Return the clips of one machine id, named as in 2020."""
    return [
        f"train/normal_{section}_00000000.wav",
        f"test/normal_{section}_00000000.wav",
        f"test/anomaly_{section}_00000000.wav",
    ]


def section_names(section: str, *, by_domain: bool) -> list[str]:
    """Return the clips of one section, named as since 2021; `by_domain`: in a folder for each domain's test."""
    tests = [("source", "normal"), ("source", "anomaly"), ("target", "normal"), ("target", "anomaly")]
    return [
        f"train/section_{section}_source_train_normal_0000_vel_8.wav",
        *(
            f"{f'{domain}_test' if by_domain else 'test'}/section_{section}_{domain}_test_{label}_0000_vel_8.wav"
            for domain, label in tests
        ),
    ]
