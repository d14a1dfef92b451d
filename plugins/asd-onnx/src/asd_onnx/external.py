"""Initialisers of an ONNX file that lie in another one: it must be in the same folder, and long enough."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from asd.errors import WeightError
from asd_onnx.tensor import Tensor


@dataclass(frozen=True)
class Location:
    """Where a tensor's data lie.

    Parameters
    ----------
    name : str
        The file, relative to the ONNX file's folder.
    offset, length : str
        In bytes, as the file gives them: empty if it does not.
    tensor : Tensor
        Whose data they are.
    """

    name: str
    offset: str
    length: str
    tensor: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> Location:
        """Return what an external tensor says."""
        entries = tensor.entries
        return cls(entries.get("location", ""), entries.get("offset", ""), entries.get("length", ""), tensor)


def check_location(model: Path, location: Location) -> Path:
    """Return the file with a tensor's data.

    Raises
    ------
    WeightError
        If it is outside the folder of `model`, by its name or as a link; missing; or shorter than the tensor declares.
    """
    name, tensor = location.name, location.tensor
    parts = PureWindowsPath(name).parts  # splits at both separators, and knows drives
    outside = not name or ".." in parts or PureWindowsPath(name).anchor or PurePosixPath(name).is_absolute()
    folder = model.resolve().parent
    path = folder / name
    if outside or not path.resolve().is_relative_to(folder):
        raise WeightError(
            f"{model}: its initialiser {tensor.name!r} lies in {name!r}, outside the file's folder; expected a file "
            "beside it: put both into one folder, or export the network into one file"
        )
    if not path.is_file():
        raise WeightError(
            f"{model}: needs the file {name!r} beside it, which is missing; copy both into one folder, or export the "
            "network into one file"
        )
    numbers = [each or default for each, default in ((location.offset, "0"), (location.length, str(tensor.bytes)))]
    if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
        raise WeightError(f"{model}: the place of its initialiser {tensor.name!r} in {name!r} is no number: {numbers}")
    offset, length = map(int, numbers)
    held = path.stat().st_size
    if length != tensor.bytes or offset + length > held:
        raise WeightError(
            f"{model}: its initialiser {tensor.name!r} declares {tensor.bytes:,} bytes, which {name!r} does "
            f"not hold at {offset:,} ({held:,} bytes in all); copy both files again, or export the network again"
        )
    return path
