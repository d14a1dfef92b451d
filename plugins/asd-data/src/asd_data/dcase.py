"""DCASE Task 2, 2020 to 2026, and the collections that share its layout: MIMII DUE and MIMII DG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from asd.errors import ConfigError, DataError
from asd.plugin import Dataset, Recording, RemoteFile
from asd_data.editions import Edition, Subset, SubsetName, editions
from asd_data.example import id_names, section_names, touch_files
from asd_data.folder import check_machines, existing
from asd_data.labels import GroundTruth, check_attribute_lists
from asd_data.layout import clips_of, machine_folders, with_sections
from asd_data.names import ClipName


class Dcase(Dataset):
    """An edition of DCASE Task 2: clips of machines, most of them in a source and a target domain.

    Found anywhere below the folder: a folder for each machine with ``train`` and ``test`` (2021: ``source_test`` and
    ``target_test``), as the publisher's archives unpack; or one machine's folder alone. WAV and FLAC. Labels come from
    the file names, and for the evaluation set from the published label files, if they lie below the folder too.
    ``supplemental`` (2025: sound of the machine alone, or noise alone) is not read.

    Parameters
    ----------
    edition : str
        Which edition; the component's name fixes it.
    subset : {"development", "evaluation"}
        The development set, or the evaluation set with its additional training clips.
    machines : tuple of str
        Take only these machines; empty: all that are there.
    channel : int
        The channel to use, from 1. Recordings of 2026 have two, near the machine and far from it; all others one.
    """

    def __init__(
        self,
        *,
        edition: str,
        subset: SubsetName = "development",
        machines: tuple[str, ...] = (),
        channel: int = 1,
    ) -> None:
        self.edition = edition
        self.subset = subset
        self.machines = machines
        self.channel = channel
        if edition not in editions():
            raise ConfigError(f"unknown edition {edition!r}; known: {', '.join(editions())}")
        check_machines(f"the {subset} set of {edition}", machines, self._subset.sections)

    @property
    def protocol(self) -> str:
        """Which official evaluator measures it (`asd_bench.official.official_scores`)."""
        return self._edition.protocol

    @property
    def source(self) -> str:
        """The paper that describes it."""
        return self._edition.paper

    def expected_clips(self) -> dict[tuple[str, str, str], int]:
        """Return the number of clips by machine, section and split, where the publisher states one."""
        stated = {"train": self._subset.train, "test": self._subset.test}
        return {
            (machine, section, split): count
            for machine in self.machines or self._subset.sections
            for section in self._subset.sections[machine]
            for split, count in stated.items()
            if count is not None
        }

    def downloads(self) -> Sequence[RemoteFile]:
        """Return the archives of the chosen set and machines, and the published labels."""
        chosen = self.machines or tuple(self._subset.sections)
        found = [remote for machine in chosen for remote in self._subset.downloads[machine]]
        return [*found, self._subset.labels] if self._subset.labels else found

    def write_example(self, folder: Path) -> None:
        """Write a tiny tree of this layout, of empty files, for `asd.testing`."""
        machine, sections = next(iter(self._subset.sections.items()))
        by_domain = self.edition in ("dcase2021", "mimii-due")
        for section in sections:
            names = (
                id_names(f"id_{section}")
                if self._edition.grammar == "id"
                else section_names(section, by_domain=by_domain)
            )
            touch_files(folder / machine, names)

    def recordings(self, folder: Path) -> Sequence[Recording]:
        """Return the recordings below `folder`, ordered by path; errors as for `Dataset.recordings`."""
        machines = machine_folders(existing(folder, self.edition), self._edition)
        truth = GroundTruth(folder, self._edition.grammar)
        found: list[Recording] = []
        for machine, place in machines:
            if not self.machines or machine in self.machines:
                found += self._of_machine(machine, place, truth)
        self._check_complete(folder, found)
        return sorted(found, key=lambda recording: recording.path)

    @property
    def _edition(self) -> Edition:
        return editions()[self.edition]

    @property
    def _subset(self) -> Subset:
        return self._edition.subset(self.subset)

    def _of_machine(self, machine: str, folder: Path, truth: GroundTruth) -> list[Recording]:
        clips = clips_of(machine, folder, self._edition)
        check_attribute_lists(folder, clips, self._edition.grammar)
        wanted = self._subset.sections.get(machine, ())
        return [
            _recording(machine, path, truth.apply(machine, path, name))
            for path, name in clips
            if name.section in wanted
        ]

    def _check_complete(self, folder: Path, found: Sequence[Recording]) -> None:
        here = sorted({recording.machine for recording in found})
        subset = "" if self.subset == "development" else f" --dataset.subset {self.subset}"
        mend = f"'asd data fetch {self.edition} {folder}{subset}' brings what is missing"
        absent = sorted(set(self.machines) - set(here))
        if absent or not found:
            raise DataError(
                f"{folder}: expected {', '.join(absent) or 'machines'} of the {self.subset} set of "
                f"{self.edition}, found {', '.join(here) or 'none'}; {mend}"
            )
        for machine in here:
            there = {(r.section, r.split) for r in found if r.machine == machine}
            wanted = [(section, split) for section in self._subset.sections[machine] for split in ("train", "test")]
            if missing := [part for part in wanted if part not in there]:
                raise DataError(
                    f"{folder}: {self.edition} is incomplete: found {machine} with {_listed(there)}, but not with "
                    f"{_listed(missing)}; {mend}{with_sections(machine, {section for section, _ in there})}"
                )


def _listed(parts: Iterable[tuple[str, str | None]]) -> str:
    """Return ``train 00, test 00 01`` for pairs of section and split."""
    pairs = sorted(parts, key=str)
    by_split = {split: [s for s, other in pairs if other == split] for split in ("train", "test")}
    return ", ".join(f"{split} {' '.join(sections)}" for split, sections in by_split.items() if sections)


def _recording(machine: str, path: Path, name: ClipName) -> Recording:
    training = path.parent.name == "train"
    return Recording(
        path,
        machine,
        name.section,
        "train" if training else "test",
        False if training else name.anomalous,
        name.domain,
        name.attributes,
    )
