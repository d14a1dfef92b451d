"""The layout of your own recordings: FOLDER/MACHINE/{train,test}/{normal,anomalous}/*.flac as a dataset."""

from collections.abc import Sequence
from pathlib import Path

from asd import Dataset, Recording
from asd.errors import DataError
from asd_registry import ComponentSpec, hookimpl


class Workshop(Dataset):
    """One folder per machine, below it ``train/`` and ``test/``, below those ``normal/`` and ``anomalous/``."""

    def recordings(self, folder: Path) -> Sequence[Recording]:
        found = [self._recording(path) for path in sorted(folder.glob("*/*/*/*.flac"))]
        if not found:
            raise DataError(
                f"{folder}: no recordings called MACHINE/train/normal/*.flac; name the folder above MACHINE"
            )
        return found

    def _recording(self, path: Path) -> Recording:
        machine, split, label = path.parts[-4:-1]
        if split not in ("train", "test") or label not in ("normal", "anomalous"):
            raise DataError(
                f"{path}: expected MACHINE/train or test/normal or anomalous, got {machine}/{split}/{label}"
            )
        return Recording(path, machine, split=split, anomalous=label == "anomalous")

    @classmethod
    def write_example(cls, folder: Path) -> None:
        for place in ("train/normal", "test/normal", "test/anomalous"):
            (folder / "fan-1" / place).mkdir(parents=True)
            (folder / "fan-1" / place / "0.flac").touch()


@hookimpl
def asd_components():
    yield ComponentSpec(
        kind="dataset",
        name="workshop",
        summary="A folder per machine: train or test, normal or anomalous",
        target=f"{__name__}:Workshop",
        licence="your own recordings",
    )
