"""What an installed component lacks to run here and now, offline; found by looking, nothing is imported or hashed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from asd.contract.installed import registry
from asd.files.store import embedded_place, place_of, record_of, store_folder
from asd_registry import Component, PluginError, WeightFile

_MEGABYTE = 1e6
_COMPANIONS: tuple[Literal["frontend", "extractor"], ...] = ("frontend", "extractor")
_NOUNS = {"frontend": "front end", "extractor": "extractor"}

READY = "ready"


def state_of(component: Component) -> str:
    """Return ``"ready"`` for what runs at once with its default parameters, else what to do first.

    Of weight files the size is compared, where it is known; ``asd weights verify`` hashes them.
    """
    return (
        component.problem
        or _name_taken(component)
        or _parameters_wanted(component)
        or _weights_wanted(component)
        or _companions_wanted(component)
        or READY
    )


def _name_taken(component: Component) -> str | None:
    taken = registry().taken_by(component)
    if not taken:
        return None
    owners = ", ".join(dict.fromkeys(name.rpartition(":")[0] for name in taken))
    return f"name taken: {owners} has one of this name; write {component.qualified_name}"


def _parameters_wanted(component: Component) -> str | None:
    spec = component.spec
    return f"needs {' '.join(f'--{spec.kind}.{name}' for name in spec.needs)}" if spec.needs else None


def _weights_wanted(component: Component) -> str | None:
    spec = component.spec
    try:
        sizes = {weight: _bytes_of(weight, component) for weight in spec.weights}
        unrecorded = [name for name in spec.first_use if not _is_recorded(name)]
    except OSError as error:
        return f"weights cannot be read ({error.strerror}): {error.filename}"
    absent = [weight for weight, size in sizes.items() if size is None]
    if wanted := absent or [weight for weight, size in sizes.items() if weight.size not in (None, size)]:
        return _mend(component, wanted, damaged=not absent)
    return f"weights not fetched: first use downloads {', '.join(unrecorded)}" if unrecorded else None


def _mend(component: Component, wanted: list[WeightFile], *, damaged: bool) -> str:
    """Return how to get weight files that are absent or damaged."""
    sizes = [weight.size for weight in wanted]
    size = f" ({sum(filter(None, sizes)) / _MEGABYTE:.1f} MB)" if all(sizes) else ""
    if any(weight.url is None for weight in wanted):
        command = f"pip install --force-reinstall --no-deps {component.plugin.distribution}"
        return f"weights {'damaged' if damaged else 'missing'}{size}: {command}"
    return f"weights {'damaged' if damaged else 'not fetched'}{size}: asd weights fetch {component.spec.name}"


def _companions_wanted(component: Component) -> str | None:
    """Say what the front end or extractor lacks that is used when the user names none."""
    for kind in _COMPANIONS:
        name = registry().default_of(component, kind)
        if name is None:
            continue
        try:
            state = state_of(registry().find(kind, name))
        except PluginError as error:
            return f"its {_NOUNS[kind]}: {error}"
        if state != READY:
            return f"its {_NOUNS[kind]} {name}: {state}"
    return None


def _bytes_of(weight: WeightFile, component: Component) -> int | None:
    """Return the size of a weight file where it would be looked for; None if it is not there."""
    return next((place.stat().st_size for place in _places(weight, component) if place.is_file()), None)


def _places(weight: WeightFile, component: Component) -> Iterable[Path]:
    if weight.url is None:
        return (embedded_place(weight, component),)
    return (place_of(weight), place_of(weight, published=False))


def _is_recorded(name: str) -> bool:
    return record_of(name).is_file() and (store_folder() / name).is_file()
