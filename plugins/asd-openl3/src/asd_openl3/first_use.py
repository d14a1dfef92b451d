"""Weight files whose publisher states no checksum: what comes first is remembered, and nothing else is taken later.

At first use the file is fetched over https, gzip's own checksum and the shape of every tensor are verified, and its
SHA-256 is recorded beside it in the weight store, as ``NAME.sha256``. From then on it is a weight file like any other:
verified at every use, fetched again if it is damaged, refused if the publisher's differs. A model file pins the hash.
"""

from __future__ import annotations

import logging
from pathlib import Path

from asd.errors import WeightError
from asd.plugin import TransferError, digest_of, download, is_offline, locate, store_folder
from asd_openl3.hdf5 import read_weights
from asd_registry import WeightFile

_log = logging.getLogger("asd")


def locate_first_use(name: str, url: str, licence: str) -> Path:
    """Return the path of the local copy, downloading it if it is absent or damaged and the network is allowed.

    Parameters
    ----------
    name : str
        File name in the weight store.
    url : str
        Where the publisher offers it.
    licence : str
        Licence of the weights.

    Raises
    ------
    WeightError
        If there is no copy and none can be had, or it is not what was recorded, or no weight file of OpenL3.
    """
    record = store_folder() / f"{name}.sha256"
    if not record.is_file():
        try:
            _record(record, name, url)
        except OSError as error:
            raise WeightError(
                f"{name} cannot be kept in {record.parent} ({error.strerror or error}); free space there, or set "
                "ASD_CACHE to a folder that you may write to"
            ) from error
    sha256 = record.read_text(encoding="ascii").strip()
    return locate(WeightFile(name=name, licence=licence, url=url, sha256=sha256))


def _record(record: Path, name: str, url: str) -> None:
    import filelock

    place = record.with_name(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(place.parent / f"{name}.first-use.lock"):
        if record.is_file():  # another process was faster
            return
        if not place.is_file():
            _fetch(url, place)
        read_weights(place)
        sha256 = digest_of(place)
        part = record.with_name(f"{record.name}.part")
        part.write_text(f"{sha256}\n", encoding="ascii")
        part.replace(record)
    _log.warning("%s: its publisher states no checksum; from now on only sha256 %s is accepted", name, sha256)


def _fetch(url: str, place: Path) -> None:
    mend = f"fetch {url} elsewhere and put it at {place}, or give its path by --extractor.weights"
    if is_offline():
        raise WeightError(f"{place.name}: not here, and the network is forbidden (ASD_OFFLINE or --offline); {mend}")
    part = place.with_name(f"{place.name}.part")
    try:
        download(url, part, f"{place.name}, MB")
    except TransferError as error:
        raise WeightError(f"{place.name}: {error}; run the command again, or {mend}") from error
    try:
        read_weights(part)
    except WeightError as error:
        part.unlink()
        raise WeightError(
            f"{url} gave no weights of OpenL3 ({error}); not kept: a proxy's login page may have answered; {mend}"
        ) from error
    part.replace(place)
