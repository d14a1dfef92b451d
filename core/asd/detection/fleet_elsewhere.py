"""Models of many machines at an address, such as ``s3://plant/models``: an object for each, and the index.

What lies there is listed once, when the run begins. A store has no locks: each run writes a number of its own into the
index, and reads it again before it writes the next time. So a second run at the same time is noticed by one of the two
at the latest when it writes the index, and ends; models are whole in any case.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from asd.detection import consent, modelfile
from asd.detection.fleet_index import INDEX, Index
from asd.detection.fleet_store import INDEX_CONTENT, ModelContent, ModelFolder, check_is_empty, index_for
from asd.detection.output import MODEL
from asd.detection.remote_output import RemoteOutput
from asd.errors import ModelFileError
from asd.files.remote import RemotePath
from asd.files.writing import check_folder


class ModelsElsewhere(ModelFolder):
    """Models at an address; `models_at` gives one to write to.

    Parameters
    ----------
    path : RemotePath
        The address.
    index : Index
        What it holds.
    """

    path: RemotePath

    def __init__(self, path: RemotePath, index: Index) -> None:
        super().__init__(path, index)
        self._there = set(_names(path))
        self._written = _content(path / INDEX)
        self.index.run = uuid.uuid4().hex

    def has(self, name: str) -> bool:
        """Return whether a machine's model was there when the run began, or was put there since."""
        return self.index.machines[name].file in self._there

    def keep(self, name: str, content: ModelContent) -> None:
        """Put a machine's model there; errors as for `asd.detection.modelfile.write`."""
        file = self._file(name)
        assert isinstance(file, RemotePath)
        modelfile.write(RemoteOutput(file, overwrite=True, content=MODEL), *content)
        consent.remember_fitted(self.place(name), *content)
        self._there.add(file.name)

    def _put_index(self, text: bytes) -> None:
        path = self.path / INDEX
        try:
            if _content(path) != self._written:
                raise ModelFileError(
                    f"{self.path}: another run writes models to this address: its index is not the one that this run "
                    "has read or written; give the same command again when the other one has ended, or choose another "
                    "address"
                )
            path.write_bytes(text)
        except OSError as error:
            raise ModelFileError(
                f"{path}: {INDEX_CONTENT.name} cannot be written ({error.strerror}); the models that are there stay, "
                "and the same command goes on with the others"
            ) from error
        self._written = text


def models_at(path: Path, by: str, *, force: bool) -> ModelsElsewhere:
    """Return the models at an address, for writing, after it was tried whether that can be done.

    Parameters
    ----------
    path : Path
        Where, of an address.
    by, force
        As for `asd.detection.fleet_store.opened`.

    Raises
    ------
    ModelFileError
        If it cannot be written to, holds something else, or tells machines otherwise.
    """
    assert isinstance(path, RemotePath)
    try:
        check_folder(path, INDEX, "models of several machines")
        index = index_for(path, by, force=force)
        if not index.machines:
            check_is_empty(path, (name for name in _names(path) if name != INDEX))
        return ModelsElsewhere(path, index)
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from error


def _names(path: RemotePath) -> list[str]:
    try:
        return [each.name for each in path.iterdir()]
    except FileNotFoundError:
        return []


def _content(path: RemotePath) -> bytes | None:
    try:
        content: bytes = path.read_bytes()
    except FileNotFoundError:
        return None
    return content
