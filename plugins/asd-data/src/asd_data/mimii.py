"""MIMII: industrial machines recorded by eight microphones under three levels of factory noise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from asd.errors import ConfigError, DataError
from asd.plugin import Dataset, Recording, RemoteFile
from asd_data.example import touch_files
from asd_data.folder import audio_files, check_both_labels, check_machines, contents, existing

Snr = Literal[-6, 0, 6]
MACHINES = ("fan", "pump", "slider", "valve")

# Zenodo record 3384388; MD5 as its page states them.
_MD5 = {
    "-6_dB_fan": "f02ae808a58d84b6815b7ec38ff30879",
    "-6_dB_pump": "d20b783a0ff9c93d58f452f98c37b112",
    "-6_dB_slider": "49913eda7d37f182cbf8ed5c984140e0",
    "-6_dB_valve": "fdfaf185fea61b21e11952a070a4ada7",
    "0_dB_fan": "6354d1cc2165c52168f9ef1bcd9c7c52",
    "0_dB_pump": "488748295c3f60b25de07b58fe75b049",
    "0_dB_slider": "4d674c21474f0646ecd75546db6c0c4e",
    "0_dB_valve": "178478eb0d11c79080a35562bfdeee71",
    "6_dB_fan": "0890f7d3c2fd8448634e69ff1d66dd47",
    "6_dB_pump": "a09ba6060c10fc09cd4c8770213b0b9f",
    "6_dB_slider": "838c2b3441858359c4704ef13a1b27ff",
    "6_dB_valve": "fe5fb7c337cd701b1d31dc641e621892",
}

_CLIP = re.compile(
    rf"(?P<above>.*/)?(?P<machine>{'|'.join(MACHINES)})/(?P<id>id_\d\d)/(?P<label>normal|abnormal)/\d{{8}}\.\w+"
)
_SNR = re.compile(r"(?<![0-9])(?P<sign>-|min(?:us)?[ _]?)?(?P<level>[06])[ _]?dB", re.IGNORECASE)


class Mimii(Dataset):
    """MIMII (Purohit et al. 2019): fan, pump, slider and valve, ids 00, 02, 04, 06, at −6, 0 and 6 dB.

    Found anywhere below the folder: ``<machine>/id_<NN>/{normal,abnormal}/<8 digits>.wav``, as the publisher's archives
    unpack. The archives of the three noise levels unpack to the same names: keep each below a folder named by its level
    (``-6_dB``, ``0_dB``, ``6_dB``, also ``min6dB``), as ``asd data fetch`` does. There is no official split.

    Parameters
    ----------
    snr : {-6, 0, 6} or None
        Signal-to-noise ratio in dB; None: the level that is there, if there is only one.
    machines : tuple of str
        Take only these machines; empty: all that are there.
    channel : int
        Which of the eight microphones, from 1; 1 is what the baseline of the data set's authors takes.
    """

    protocol = "dcase2020"

    def __init__(self, *, snr: Snr | None = None, machines: tuple[str, ...] = (), channel: int = 1) -> None:
        self.snr = snr
        self.machines = machines
        self.channel = channel
        check_machines("mimii", machines, MACHINES)
        if not 1 <= channel <= 8:
            raise ConfigError(f"mimii has the channels 1 to 8, got {channel}")

    def downloads(self) -> Sequence[RemoteFile]:
        """Return the archives of the chosen machines and noise level."""
        return [
            RemoteFile(
                f"https://zenodo.org/records/3384388/files/{level}_dB_{machine}.zip",
                folder=f"{level}_dB",
                checksum=f"md5:{_MD5[f'{level}_dB_{machine}']}",
            )
            for level in ((-6, 0, 6) if self.snr is None else (self.snr,))
            for machine in self.machines or MACHINES
        ]

    def write_example(self, folder: Path) -> None:
        """Write a tiny tree of this layout, of empty files, for `asd.testing`."""
        touch_files(folder, [f"{self.snr or 0}_dB/fan/id_00/{label}/00000000.wav" for label in ("normal", "abnormal")])

    def recordings(self, folder: Path) -> Sequence[Recording]:
        """Return the recordings below `folder`, ordered by path; errors as for `Dataset.recordings`."""
        found = [r for path in audio_files(existing(folder, "mimii")) if (r := _recording(path))]
        levels = sorted({recording.attributes.get("snr", "unknown") for recording in found})
        if self.snr is not None and levels != ["unknown"]:
            found = [r for r in found if r.attributes.get("snr") == f"{self.snr}dB"]
        elif len(levels) > 1:
            raise DataError(f"{folder}: holds mimii at {', '.join(levels)}; choose one by --dataset.snr -6, 0 or 6")
        if self.machines:
            found = [r for r in found if r.machine in self.machines]
        if not found:
            there = f"mimii at {', '.join(levels)}" if levels else contents(folder)
            wanted = "" if self.snr is None else f" at {self.snr}dB"
            raise DataError(
                f"{folder}: this holds no {' '.join([*self.machines, 'recordings'])} of mimii{wanted}: found {there}; "
                f"expected <machine>/id_<NN>/normal and abnormal for the machines {', '.join(MACHINES)}; "
                f"'asd data fetch mimii {folder}' brings what is missing"
            )
        check_both_labels("mimii", folder, found, {False: "normal", True: "abnormal"})
        return found


def _recording(path: Path) -> Recording | None:
    # The folder that was named may be a machine's, or one of its ids: look at the names above it, too.
    match = _CLIP.fullmatch(path.absolute().as_posix())
    if match is None:
        return None
    levels = list(_SNR.finditer(match["above"] or ""))
    snr = f"{'-' if levels[-1]['sign'] else ''}{levels[-1]['level']}dB" if levels else None
    return Recording(
        path,
        match["machine"],
        match["id"],
        anomalous=match["label"] == "abnormal",
        attributes={"snr": snr} if snr else {},
    )
