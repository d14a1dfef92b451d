"""ToyADMOS: toys that imitate machines, recorded by four microphones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from asd.errors import ConfigError, DataError
from asd.plugin import Dataset, Recording, RemoteFile
from asd_data.example import touch_files
from asd_data.folder import audio_files, check_both_labels, check_machines, contents, existing

# Zenodo record 3351307: each machine is an archive of 7-Zip in so many parts.
_PARTS = {"ToyCar": 8, "ToyConveyor": 7, "ToyTrain": 9}

_CLIP = re.compile(
    rf"\d+_(?P<machine>{'|'.join(_PARTS)})_case(?P<case>\d)_(?P<condition>normal|ab\d+)_IND_ch(?P<microphone>\d)_\d+"
)
_FOLDERS = {"NormalSound_IND": False, "AnomalousSound_IND": True}


class ToyAdmos(Dataset):
    """ToyADMOS (Koizumi et al. 2019): ToyCar, ToyConveyor and ToyTrain in several cases; no official split.

    Found anywhere below the folder: ``<machine>/case<N>/{NormalSound_IND,AnomalousSound_IND}/…_ch<N>_….wav``, as the
    publisher's archives unpack. A case is a section. The continuous recordings (``NormalSound_CNT``) and the factory
    noise (``EnvironmentalNoise_CNT``) are not read.

    Parameters
    ----------
    machines : tuple of str
        Take only these machines; empty: all that are there.
    microphone : int
        Which of the four microphones, each of which has files of its own.
    """

    protocol = "dcase2020"

    def __init__(self, *, machines: tuple[str, ...] = (), microphone: int = 1) -> None:
        self.machines = machines
        self.microphone = microphone
        check_machines("toyadmos", machines, _PARTS)
        if not 1 <= microphone <= 4:
            raise ConfigError(f"toyadmos has the microphones 1 to 4, got {microphone}")

    def downloads(self) -> Sequence[RemoteFile]:
        """Return the parts of the chosen machines' archives; 7-Zip unpacks them."""
        return [
            RemoteFile(f"https://zenodo.org/records/3351307/files/{machine}.7z.{part:03}")
            for machine in self.machines or _PARTS
            for part in range(1, _PARTS[machine] + 1)
        ]

    def write_example(self, folder: Path) -> None:
        """Write a tiny tree of this layout, of empty files, for `asd.testing`."""
        names = ["NormalSound_IND/1100010001_ToyCar_case1_normal_IND_ch1_0001.wav"]
        names += ["AnomalousSound_IND/1101010001_ToyCar_case1_ab03_IND_ch1_0001.wav"]
        touch_files(folder / "ToyCar" / "case1", names)

    def recordings(self, folder: Path) -> Sequence[Recording]:
        """Return the recordings below `folder`, ordered by path; errors as for `Dataset.recordings`."""
        found = [r for path in audio_files(existing(folder, "toyadmos")) if (r := self._recording(path))]
        if not found:
            raise DataError(
                f"{folder}: this holds no recordings of toyadmos by microphone {self.microphone}: found "
                f"{contents(folder)}; "
                f"expected <machine>/case<N>/NormalSound_IND and AnomalousSound_IND for the machines "
                f"{', '.join(self.machines or _PARTS)}; 'asd data fetch toyadmos {folder}' brings the archives"
            )
        check_both_labels("toyadmos", folder, found, {label: name for name, label in _FOLDERS.items()})
        return found

    def _recording(self, path: Path) -> Recording | None:
        match = _CLIP.fullmatch(path.stem)
        if match is None or int(match["microphone"]) != self.microphone:
            return None
        anomalous = match["condition"] != "normal"
        if _FOLDERS.get(path.parent.name, anomalous) != anomalous:
            raise DataError(f"{path}: its name says {match['condition']}, its folder {path.parent.name}")
        if self.machines and match["machine"] not in self.machines:
            return None
        attributes = {"anomaly": match["condition"]} if anomalous else {}
        return Recording(path, match["machine"], f"case{match['case']}", anomalous=anomalous, attributes=attributes)
