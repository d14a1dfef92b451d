"""Arrays of HDF5 files are read when they lie in the file and are as large as it says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from asd.errors import WeightError
from asd_torch.hdf5 import group_at, open_hdf5, read_dataset, read_names

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(path: Path, change: Callable[[Any], object] | None = None) -> Path:
    """Write a file of one array, changed."""
    with h5py.File(path, "w") as file:
        group = file.create_group("layer")
        group.attrs["names"] = [b"kernel", b"bias"]
        group["kernel"] = VALUES
        if change:
            change(group)
    return path


def read(path: Path, name: str = "layer/kernel", shape: tuple[int, ...] | None = (2, 3)) -> Any:
    with open_hdf5(path, "not what was wanted", "fetch it again") as file:
        return read_dataset(file, name, shape)


def test_arrays_groups_and_names_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5")
    np.testing.assert_array_equal(read(path), VALUES)
    with open_hdf5(path, "", "", path.read_bytes()) as file:
        assert read_names(group_at(file, "layer"), "names", path.read_bytes()) == ["kernel", "bias"]
        assert read_dataset(file, "layer/kernel").dtype == np.float32


def replaced(create: Callable[[Any], object]) -> Callable[[Any], object]:
    def change(group: Any) -> None:
        del group["kernel"]
        create(group)

    return change


def unwritten(group: Any) -> None:
    group.create_dataset("kernel", (10**6, 10**6), np.float32, chunks=(100, 100))


def compressed(group: Any) -> None:
    group.create_dataset("kernel", data=np.zeros((2, 3000), np.float32), compression="gzip")


def listed(group: Any) -> None:
    group.attrs.create("names", np.zeros((2, 2)))


OTHERS = {
    "unwritten": (replaced(unwritten), r"'layer/kernel' has shape \(1000000, 1000000\), expected \(2, 3\)"),
    "text": (
        replaced(lambda group: group.create_dataset("kernel", data="text")),
        "'layer/kernel' is no array of numbe",
    ),
    "objects": (replaced(lambda group: group.create_dataset("kernel", data=[b"a"])), "'layer/kernel' is no array of n"),
    "a group": (replaced(lambda group: group.create_group("kernel")), "'layer/kernel' is no array of numbers"),
    "nothing": (replaced(lambda group: None), "layer/kernel"),
}


@pytest.mark.parametrize(("change", "told"), OTHERS.values(), ids=list(OTHERS))
def test_another_content_is_refused(tmp_path: Path, change: Callable[[Any], object], told: str) -> None:
    path = write(tmp_path / "w.h5", change)
    with pytest.raises(WeightError, match=rf"^{path}: not what was wanted \({told}.*\); fetch it again$"):
        read(path)


@pytest.mark.parametrize("change", [unwritten, compressed])
def test_what_claims_more_than_the_file_holds_is_refused(tmp_path: Path, change: Callable[[Any], object]) -> None:
    path = write(tmp_path / "w.h5", replaced(change))
    with pytest.raises(WeightError, match=r"'layer/kernel' takes \d+ bytes, \d+ are stored"):
        read(path, shape=None)


def elsewhere(folder: Path) -> dict[str, Callable[[Any], object]]:
    """Return ways to name another file as the place of an array."""
    other = write(folder / "other.h5")
    secret = folder / "secret"
    os.mkfifo(secret)  # opening it would wait for ever
    layout = h5py.VirtualLayout((2, 3), np.float32)
    layout[...] = h5py.VirtualSource(str(other), "layer/kernel", (2, 3))
    return {
        "link": lambda group: group.__setitem__("kernel", h5py.ExternalLink(str(other), "layer/kernel")),
        "raw": lambda group: group.create_dataset("kernel", (2, 3), np.float32, external=[(str(secret), 0, 24)]),
        "virtual": lambda group: group.create_virtual_dataset("kernel", layout),
        "soft": lambda group: group.__setitem__("kernel", h5py.SoftLink("/layer/kernel")),
    }


@pytest.mark.parametrize("way", ["link", "raw", "virtual", "soft"])
def test_other_files_are_not_opened(way: str, tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5", replaced(elsewhere(tmp_path)[way]))
    with pytest.raises(
        WeightError, match=r"not what was wanted \((layer/kernel|'layer/kernel' is kept in another file)"
    ):
        read(path)


def test_an_attribute_that_is_no_list_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5", listed)
    with pytest.raises(WeightError, match="'names' is no list of names"), open_hdf5(path, "", "") as file:
        read_names(file["layer"], "names", path.read_bytes())


@pytest.mark.parametrize("version", ["earliest", "v110"])
def test_a_name_that_states_an_enormous_length_is_refused(version: str, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver=version) as file:
        file.attrs["names"] = ["kernel", "bias"]
    content = path.read_bytes()
    with open_hdf5(path, "", "") as file:
        assert read_names(file, "names", content) == ["kernel", "bias"]
    heap = content.index(b"GCOL").to_bytes(8, "little")
    place = content.index(heap, content.index(b"names\0")) - 4
    assert content[place : place + 4] == (6).to_bytes(4, "little")
    damaged = content[:place] + b"\xff" * 4 + content[place + 4 :]
    told = "'names' is no list of names|incorrect metadata checksum"  # newer versions of the format have one
    with pytest.raises(WeightError, match=told), open_hdf5(path, "", "", damaged) as file:
        read_names(file, "names", damaged)


def test_a_heap_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5")
    content = path.read_bytes()
    place = content.index(b"GCOL") + 8
    damaged = content[:place] + b"\xff" * 8 + content[place + 8 :]
    with pytest.raises(WeightError, match="a heap claims more than the file holds"), open_hdf5(path, "", "", damaged):
        pass


def test_an_error_of_ours_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5")
    with pytest.raises(WeightError, match=r"^another network$"), open_hdf5(path, "", ""):
        raise WeightError("another network")
