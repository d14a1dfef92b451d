"""Where DCASE Task 2 keeps its clips, and which edition a machine's folder can be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asd.errors import DataError
from asd.plugin import AUDIO_SUFFIXES
from asd_data.editions import Edition, editions
from asd_data.folder import contents
from asd_data.names import EXAMPLES, ClipName, parse

_TEST_FOLDERS = (("test_rename",), ("test",), ("source_test", "target_test"))
"""In this order: what the official baseline renames after the labels, what most editions ship, what 2021 ships."""

_PARTS = {"train", *(name for names in _TEST_FOLDERS for name in names)}


def machine_folders(folder: Path, edition: Edition) -> list[tuple[str, Path]]:
    """Return the machines' folders at or below `folder`, each with the machine's name as the edition writes it.

    Raises
    ------
    DataError
        If there is none of this edition's machines.
    """
    folders = [folder] if _parts(folder) else sorted({path.parent for path in folder.rglob("*") if _is_part(path)})
    known = {machine.lower(): machine for machine in edition.machines}
    found = [(known[name], each) for each in folders if (name := each.absolute().name.lower()) in known]
    if not found:
        there = [each.absolute().name for each in folders]
        described = f"machines {', '.join(there)}" if there else contents(folder)
        fits = [e.name for e in editions().values() if there and set(there) <= set(e.machines)]
        raise DataError(
            f"{folder}: this is not {edition.name}: found {described}; expected folders of the machines "
            f"{', '.join(edition.machines)}, each with train and test{_guess(fits)}"
        )
    return found


def clips_of(machine: str, folder: Path, edition: Edition) -> list[tuple[Path, ClipName]]:
    """Return the clips in a machine's folder with their parsed names.

    Raises
    ------
    DataError
        If they are those of another edition, or lie in the wrong folder.
    """
    paths = [path for part in _parts(folder) for path in sorted(part.iterdir()) if _is_clip(path)]
    names = _names(edition, paths)
    if problem := _mismatch(edition, machine, paths, names):
        fits = [e.name for e in editions().values() if not _mismatch(e, machine, paths, _names(e, paths))]
        raise DataError(f"{folder}: this is not {edition.name}: {problem}{_guess(fits)}")
    clips = [(path, name) for path, name in zip(paths, names, strict=True) if name is not None]
    for path, name in clips:
        _check_folder(path, name)
    return clips


def _names(edition: Edition, paths: Sequence[Path]) -> list[ClipName | None]:
    return [parse(path.stem, edition.grammar, edition.attributes) for path in paths]


def _check_folder(path: Path, name: ClipName) -> None:
    folder = path.parent.name
    domain, _, split = folder.rpartition("_") if folder.endswith("_test") else ("", "", folder.removesuffix("_rename"))
    for said, place in ((name.split, split), (name.domain, domain)):
        if said and place and said != place:
            raise DataError(f"{path}: its name says {said}, its folder {folder}; put it where it belongs")


def with_sections(machine: str, sections: set[str]) -> str:
    """Return a hint at the editions whose development set has just these sections of a machine; empty if many do."""
    fits = [e.name for e in editions().values() if set(e.subsets["development"].sections.get(machine, ())) == sections]
    return _guess(fits) or (f"; such sections are those of {fits[0]} to {fits[-1]}" if fits else "")


def _mismatch(edition: Edition, machine: str, paths: Sequence[Path], names: Sequence[ClipName | None]) -> str:
    """Return what of a machine's clips is not as in `edition`; empty if nothing is."""
    if None in names:
        return f"found the name {paths[names.index(None)].stem}, expected such as {EXAMPLES[edition.grammar]}"
    sections = {name.section for name in names if name}
    allowed = edition.machines.get(machine, set())
    if not sections <= allowed:
        return (
            f"found {machine} with sections {', '.join(sorted(sections))}, "
            f"expected {', '.join(sorted(allowed)) or 'no such machine'}"
        )
    # Editions share machines; they differ in which machines' names carry attributes.
    development = edition.subsets["development"]
    trained = [name for name in names if name and name.split == "train"]
    if trained and development.unnamed is not None and sections <= set(development.sections.get(machine, ())):
        carry = any(name.attributes for name in trained)
        if carry == (machine in development.unnamed):
            there, wanted = ("with", "none") if carry else ("without", "some")
            return f"found {machine} {there} attributes in the file names, expected {wanted}"
    return ""


def _parts(folder: Path) -> list[Path]:
    test = next((names for names in _TEST_FOLDERS if any((folder / name).is_dir() for name in names)), ())
    return [folder / name for name in ("train", *test) if (folder / name).is_dir()]


def _is_part(path: Path) -> bool:
    return path.name in _PARTS and path.is_dir()


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")


def _guess(names: Sequence[str]) -> str:
    return f"; it looks like {' or '.join(names)}" if 1 <= len(names) <= 3 else ""
