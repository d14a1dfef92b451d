"""The data sets and the command of this distribution."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, ComponentSpec, hookimpl

_SUMMARIES = {
    "dcase2020": "DCASE 2020 Task 2: six machines, several of each",
    "dcase2021": "DCASE 2021 Task 2: seven machines, shifted domains",
    "dcase2022": "DCASE 2022 Task 2: seven machines, domain generalisation",
    "dcase2023": "DCASE 2023 Task 2: first shot, seven machines and seven new ones",
    "dcase2024": "DCASE 2024 Task 2: first shot, seven machines and nine new ones",
    "dcase2025": "DCASE 2025 Task 2: first shot, seven machines and eight new ones",
    "dcase2026": "DCASE 2026 Task 2: two channels, seven machines and five new ones",
    "mimii-due": "MIMII DUE: five machines, shifted domains (part of DCASE 2021)",
    "mimii-dg": "MIMII DG: five machines, domain generalisation (part of DCASE 2022)",
    "mimii": "MIMII: four machines, four of each, three levels of noise, eight microphones",
    "toyadmos": "ToyADMOS: three toys in several cases, four microphones",
    "folder": "Your own recordings in folders normal/ and abnormal/",
    "manifest": "Your own recordings, listed in a CSV file",
}
_LICENCES = {
    "mimii-dg": "CC BY 4.0 by Zenodo's metadata, CC BY-NC-SA 4.0 by its conditions of use",
    "mimii": "CC BY-SA 4.0",
    "toyadmos": "ToyADMOS licence (LICENSE.pdf of Zenodo record 3351307)",
    "folder": "that of the recordings",
    "manifest": "that of the recordings",
}
_TARGETS = {"mimii": "mimii:Mimii", "toyadmos": "toyadmos:ToyAdmos"}
_TARGETS |= {"folder": "folder:Folder", "manifest": "manifest:Manifest"}


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the data sets; those without a class of their own are editions of DCASE or share its layout."""
    for name, summary in _SUMMARIES.items():
        yield ComponentSpec(
            kind="dataset",
            name=name,
            summary=summary,
            target=f"asd_data.{_TARGETS.get(name, 'dcase:Dcase')}",
            licence=_LICENCES.get(name, "CC BY-NC-SA 4.0"),
            preset={} if name in _TARGETS else {"edition": name},
        )


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield the command."""
    yield CommandSpec(
        name="data", summary="List, fetch, verify and show data sets.", target="asd_data.data_command:data"
    )
