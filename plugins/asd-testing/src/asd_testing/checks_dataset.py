"""Checks of datasets."""

from __future__ import annotations

from pathlib import Path

from asd.errors import DataError
from asd.plugin import Recording
from asd_testing.compare import require
from asd_testing.errors import CheckFailedError, SkippedError
from asd_testing.kit import check
from asd_testing.under_test import ComponentUnderTest


@check("dataset")
def foreign_folder_is_refused(tested: ComponentUnderTest) -> None:
    """A folder that does not hold the dataset raises a DataError that names the folder."""
    empty, other = tested.folder / "empty", tested.folder / "something else"
    empty.mkdir()
    other.mkdir()
    (other / "notes.txt").write_text("no recordings\n")
    for folder in (empty, other, tested.folder / "not there"):
        _require_refusal(tested, folder)


def _require_refusal(tested: ComponentUnderTest, folder: Path) -> None:
    try:
        found = tested.make().recordings(folder)
    except DataError as error:
        require(str(folder) in str(error), f"its refusal does not name the folder: {error}")
        return
    except Exception as error:
        raise CheckFailedError(f"raises {type(error).__name__} for a foreign folder, expected DataError") from error
    raise CheckFailedError(f"finds {len(found)} recordings in a folder that is not this dataset: raise DataError")


@check("dataset")
def recordings_are_well_formed(tested: ComponentUnderTest) -> None:
    """An example folder gives recordings that exist, ordered by path, each once, the same every time."""
    folder = _example(tested)
    found = list(tested.make().recordings(folder))
    require(bool(found), "no recordings in its own example folder")
    wrong = [item for item in found if not isinstance(item, Recording)]
    require(not wrong, f"gives {type(wrong[0]).__name__ if wrong else ''}, expected asd.Recording")
    paths = [recording.path for recording in found]
    require(paths == sorted(set(paths)), "recordings are not ordered by path, or one is named twice")
    absent = [str(path) for path in paths if not path.is_file()]
    require(not absent, f"names recordings that do not exist: {', '.join(absent[:3])}")
    require(list(tested.make().recordings(folder)) == found, "gives other recordings the second time")


def _example(tested: ComponentUnderTest) -> Path:
    write = getattr(tested.make(), "write_example", None)
    if write is None:
        raise SkippedError("offers no example: give it a method write_example(folder)")
    folder = tested.folder / "example"
    folder.mkdir(exist_ok=True)
    write(folder)
    return folder
