"""The data sets and the command of this distribution."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, ComponentSpec, hookimpl

_NONCOMMERCIAL = "CC BY-NC-SA 4.0"

_EDITIONS = {
    "dcase2020": ("DCASE 2020 Task 2: six machines, several of each", _NONCOMMERCIAL),
    "dcase2021": ("DCASE 2021 Task 2: seven machines, shifted domains", _NONCOMMERCIAL),
    "dcase2022": ("DCASE 2022 Task 2: seven machines, domain generalisation", _NONCOMMERCIAL),
    "dcase2023": ("DCASE 2023 Task 2: first shot, seven machines and seven new ones", _NONCOMMERCIAL),
    "dcase2024": ("DCASE 2024 Task 2: first shot, seven machines and nine new ones", _NONCOMMERCIAL),
    "dcase2025": ("DCASE 2025 Task 2: first shot, seven machines and eight new ones", _NONCOMMERCIAL),
    "dcase2026": ("DCASE 2026 Task 2: two channels, seven machines and five new ones", _NONCOMMERCIAL),
    "mimii-due": ("MIMII DUE: five machines, shifted domains (part of DCASE 2021)", _NONCOMMERCIAL),
    "mimii-dg": (
        "MIMII DG: five machines, domain generalisation (part of DCASE 2022)",
        "CC BY 4.0 by Zenodo's metadata, CC BY-NC-SA 4.0 by its conditions of use",
    ),
}
_OTHERS = (
    (
        "mimii",
        "MIMII: four machines, four of each, three levels of noise, eight microphones",
        "mimii:Mimii",
        "CC BY-SA 4.0",
    ),
    (
        "toyadmos",
        "ToyADMOS: three toys in several cases, four microphones",
        "toyadmos:ToyAdmos",
        "ToyADMOS licence (LICENSE.pdf of Zenodo record 3351307)",
    ),
    ("folder", "Your own recordings in folders normal/ and abnormal/", "folder:Folder", "that of the recordings"),
    ("manifest", "Your own recordings, listed in a CSV file", "manifest:Manifest", "that of the recordings"),
)


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the data sets."""
    for name, (summary, licence) in _EDITIONS.items():
        yield ComponentSpec(
            kind="dataset",
            name=name,
            summary=summary,
            target="asd_data.dcase:Dcase",
            licence=licence,
            preset={"edition": name},
        )
    for name, summary, target, licence in _OTHERS:
        yield ComponentSpec(kind="dataset", name=name, summary=summary, target=f"asd_data.{target}", licence=licence)


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield the command."""
    yield CommandSpec(
        name="data", summary="List, fetch, verify and show data sets.", target="asd_data.data_command:data"
    )
