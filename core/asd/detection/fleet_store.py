"""Where the models of many machines are kept: a folder with an index and a model file for each, or memory.

The index of a folder is replaced whole or not at all. It names the file of every machine before the first one is
written, so that a run that was killed knows later which files are its own. One process at a time writes into a folder;
at an address, `asd.detection.fleet_elsewhere`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from asd.detection import consent, modelfile
from asd.detection.fleet_index import INDEX, Index, Machine, file_name, is_folder_of_models, read_index
from asd.detection.output import Content, reserve
from asd.errors import ModelFileError
from asd.files.remote import as_path, has_address

ModelContent = tuple[dict[str, Any], modelfile.Arrays]
"""What a model file holds: its manifest and its arrays."""

_LOCK = ".machines.lock"
_SHARE = 20
"""The index is written again once so many times as long has passed as it takes to write it: at most a twentieth of the
time, however many machines there are."""
INDEX_CONTENT = Content("the index", INDEX, ModelFileError)


class ModelStore(ABC):
    """Models of many machines, with an index.

    Parameters
    ----------
    index : Index
        What is there.
    """

    path: Path | None = None
    """The folder; None: they are in memory."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def add(self, names: Iterable[str]) -> None:
        """Add machines that the index has not, with the name of a file for each."""
        taken = {machine.file.casefold() for machine in self.index.machines.values()}
        for name in sorted(set(names) - self.index.machines.keys()):
            file = file_name(name, taken)
            taken.add(file.casefold())
            self.index.machines[name] = Machine(file=file)

    @abstractmethod
    def place(self, name: str) -> str:
        """Return what messages call a machine's model."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Return whether a machine's model is there."""

    @abstractmethod
    def content(self, name: str) -> ModelContent:
        """Return what a machine's model file holds; errors as for `asd.detection.modelfile.read`."""

    @abstractmethod
    def keep(self, name: str, content: ModelContent) -> None:
        """Keep a machine's model in place of an older one; errors as for `asd.detection.modelfile.write`."""

    def write(self, *, soon: bool = False) -> None:  # noqa: B027  # memory has nothing to write
        """Write the index down.

        Parameters
        ----------
        soon : bool
            Only if the last time is long enough ago: each machine's result would otherwise write all the others again.
        """


class ModelMemory(ModelStore):
    """Models in memory.

    Parameters
    ----------
    by : str
        What told the machines.
    """

    def __init__(self, by: str) -> None:
        super().__init__(Index(asd_framework=importlib.metadata.version("asd-framework"), by=by, machines={}))
        self._contents: dict[str, ModelContent] = {}

    def place(self, name: str) -> str:
        """Return what messages call a machine's model."""
        return f"the model of {name}"

    def has(self, name: str) -> bool:
        """Return whether a machine's model is there."""
        return name in self._contents

    def content(self, name: str) -> ModelContent:
        """Return what a machine's model file would hold."""
        return self._contents[name]

    def keep(self, name: str, content: ModelContent) -> None:
        """Keep a machine's model in place of an older one."""
        self._contents[name] = content
        consent.remember_fitted(self.place(name), *content)


class ModelFolder(ModelStore):
    """Models in a folder; `opened` gives one to write into.

    Parameters
    ----------
    path : Path
        The folder.
    index : Index
        What it holds.
    """

    path: Path

    def __init__(self, path: Path, index: Index) -> None:
        super().__init__(index)
        self.path = path
        self._next = 0.0

    def place(self, name: str) -> str:
        """Return the path of a machine's model file."""
        return str(self._file(name))

    def has(self, name: str) -> bool:
        """Return whether a machine's model is there."""
        return self._file(name).is_file()

    def content(self, name: str) -> ModelContent:
        """Return what a machine's model file holds; errors as for `asd.detection.modelfile.read`."""
        return modelfile.read(self._file(name))

    def keep(self, name: str, content: ModelContent) -> None:
        """Write a machine's model file; errors as for `asd.detection.modelfile.write`."""
        modelfile.write(self._file(name), *content)
        consent.remember_fitted(self.place(name), *content)

    def write(self, *, soon: bool = False) -> None:
        """Write the index; errors as for `asd.detection.output.OutputFile.write_by`."""
        began = time.monotonic()
        if soon and began < self._next:
            return
        self._put_index(msgspec.json.format(msgspec.json.encode(self.index), indent=1) + b"\n")
        ended = time.monotonic()
        self._next = ended + _SHARE * (ended - began)

    def _put_index(self, text: bytes) -> None:
        with reserve(self.path / INDEX, overwrite=True, content=INDEX_CONTENT) as file:
            file.write([text])

    def _file(self, name: str) -> Path:
        return self.path / self.index.machines[name].file


def is_folder(path: str | Path) -> bool:
    """Return whether a path, here or by address, is that of a folder."""
    return as_path(path).is_dir()


@contextlib.contextmanager
def opened(folder: str | Path, by: str, *, force: bool = False) -> Iterator[ModelFolder]:
    """Open a folder of models for writing inside the block, and make it if it is not there.

    Parameters
    ----------
    folder : str or Path
        The folder, here or at an address; here its parent must be there.
    by : str
        What tells the machines.
    force : bool
        Let the machines be told otherwise than before.

    Raises
    ------
    ModelFileError
        If the folder cannot be made, holds something else, tells machines otherwise, or another process writes into it.
    """
    import filelock

    path = as_path(folder)
    if has_address(path):
        from asd.detection.fleet_elsewhere import models_at

        yield models_at(path, by, force=force)
        return
    is_new = _make(path)
    lock = filelock.FileLock(path / _LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise ModelFileError(
            f"{path}: another process is fitting models into this folder; wait for it, or choose another folder"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise ModelFileError(
            f"{path}: this folder cannot be locked ({error}); fit into one that you may write to, on a file system "
            "with locks, and copy it"
        ) from error
    try:
        yield ModelFolder(path, index_for(path, by, force=force))
    finally:
        lock.release()
        if not is_folder_of_models(path):  # nothing was done: leave nothing
            with contextlib.suppress(OSError):
                (path / _LOCK).unlink(missing_ok=True)
                if is_new:
                    path.rmdir()


def _make(path: Path) -> bool:
    """Make the folder if it is not there, and return whether it was not."""
    try:
        is_new = not path.exists()
        if not is_new and not path.is_dir():
            raise ModelFileError(f"{path}: is a file; models of several machines are written into a folder: name one")
        if is_new and not path.absolute().parent.is_dir():
            raise ModelFileError(f"{path.absolute().parent}: no such folder to make {path.name} in; make it first")
        path.mkdir(exist_ok=True)
        if not is_folder_of_models(path):
            check_is_empty(path, [each.name for each in path.iterdir() if not each.name.startswith(".")])
    except OSError as error:
        raise ModelFileError(
            f"{path}: this folder cannot be made or searched ({error.strerror}); choose another one"
        ) from error
    return is_new


def check_is_empty(path: Path, names: Iterable[str]) -> None:
    """Refuse a folder without an index that holds something: it is not ours; errors as for `opened`."""
    if any(True for _ in names):
        raise ModelFileError(
            f"{path}: this folder holds something else than models of an earlier 'asd fit --by' (it has no "
            f"{INDEX}); choose a new one"
        )


def index_for(path: Path, by: str, *, force: bool) -> Index:
    """Return the index of a folder to add to, a new one where there is none; errors as for `opened`."""
    version = importlib.metadata.version("asd-framework")
    if not is_folder_of_models(path):
        return Index(asd_framework=version, by=by, machines={})
    index = read_index(path)
    if index.by != by and not force:
        raise ModelFileError(
            f"{path}: its machines were told by {index.by!r}, now by {by!r}; choose a new folder, give --by "
            f"{index.by}, or add machines to these with --force"
        )
    index.by, index.asd_framework = by, version
    return index
