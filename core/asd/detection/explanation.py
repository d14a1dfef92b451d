"""Why a clip is unusual: when, at which frequencies, by how much, and what that adds to the model's score.

Places that may be the reason come from the levels over time and frequency (`asd.detection.scan`), compared with those
of the healthy clips (`asd.detection.reference`). How much each adds to the score comes from scoring the clip without it
(`asd.detection.occlusion`), so that any pipeline is explained. If no level stands out although the score does,
intervals and bands are tried one by one. What detectors themselves say (`asd.Detector.explain`) stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asd.detection import scan
from asd.detection.features import Failure
from asd.detection.identity import content_of
from asd.detection.model import Model
from asd.detection.occlusion import Occluder, Patch, scores_of_versions, shared_out
from asd.detection.reference import Reference
from asd.detection.scan import Region
from asd.detection.spectra import HOP, Spectra, band_edges, levels_of
from asd.detection.verdict import Verdict
from asd.errors import AudioError
from asd.records import Clip, Float32, Float64
from asd.sound.reading import read

MOST = 4
"""Places that are looked at."""
STANDS_OUT = 0.05
"""A place stands out if at most this share of healthy clips have one as strong; of fewer than 19, if none has."""

_CONTRIBUTES = 0.2
"""Share of the score from which on a place is a reason for an unusual clip, whatever healthy clips show."""
_EXPLAINED = 0.3
"""Share of the score that the places must explain together; otherwise others are tried."""
_INTERVALS = 8
_BAND_GROUPS = 8
_SHARE = 0.25
"""Of the largest loss of score: a neighbour with less is no part of the place."""
_LEAST_SECONDS = scan.WIDTH * HOP
_CLEARLY = 0.5
"""dB; a smaller difference is none that people would name."""
_PEAKS = 6.0
"""dB by which the loudest of a quarter of a second exceeds the mean: single sounds."""


@dataclass(frozen=True)
class Finding:
    """A place in time and frequency where the clip is unlike healthy ones.

    Parameters
    ----------
    start, end : float
        In seconds from the beginning of the recording.
    low, high : float
        In Hz.
    direction : {"louder", "quieter", "unlike"}
        ``"unlike"``: the score says so, no level does.
    contribution : float or None
        Fraction of the unusual score that goes where the place sounds healthy, 0 to 1; None: the score is usual.
    difference : float or None
        dB by which it is louder or quieter than usual.
    beyond : float or None
        dB by which it is louder or quieter than any healthy clip; below 0: there are healthy clips that are as much so.
    exceeded : int
        How many of the healthy clips are less loud, or less quiet, there.
    p_value : float or None
        About the chance that a healthy clip has a place that differs as much.
    manner : {"", "in peaks", "in gaps"}
        Whether short sounds, or short gaps, make the difference.
    branches : mapping of str to float
        The same as `contribution`, of each branch that is unusual.
    """

    start: float
    end: float
    low: float
    high: float
    direction: Literal["louder", "quieter", "unlike"]
    contribution: float | None = None
    difference: float | None = None
    beyond: float | None = None
    exceeded: int = 0
    p_value: float | None = None
    manner: Literal["", "in peaks", "in gaps"] = ""
    branches: Mapping[str, float] = field(default_factory=dict)

    def text(self, clips: int) -> str:
        """Return what people read; `clips` is the number of healthy clips."""
        where = f"at {frequencies(self.low, self.high)} from {self.start:.1f} s to {self.end:.1f} s"
        if self.direction == "unlike":
            return f"unlike healthy sound {where}, though not louder or quieter"
        manner = f" {self.manner}" if self.manner else ""
        if self.beyond is not None and self.beyond >= _CLEARLY:
            return f"{decibels(self.beyond)} {self.direction}{manner} {where} than any of {clips} healthy clips"
        amount = decibels(max(self.difference or 0.0, 0.0))
        others = f"than {self.exceeded} of {clips} healthy clips are there"
        return f"{amount} {self.direction}{manner} than usual {where}, and more so {others}"

    def to_dict(self, clips: int) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {**vars(self), "branches": dict(self.branches), "text": self.text(clips)}


@dataclass(frozen=True)
class HealthyClip:
    """The healthy clip that a clip is most like.

    Parameters
    ----------
    name : str
        File name of its recording, as it was when the model learned it.
    sha256 : str
        Of its recording.
    start, duration : float, float or None
        Its place in the recording in seconds; None: to the end.
    difference : float
        Median over the bands of the difference of the mean levels, in dB.
    path : Path or None
        The file, where it was found again.
    """

    name: str
    sha256: str
    start: float
    duration: float | None
    difference: float
    path: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {**vars(self), "path": None if self.path is None else str(self.path)}


@dataclass(frozen=True)
class Explanation:
    """Why a clip is unusual, or that nothing stands out.

    Parameters
    ----------
    verdict : Verdict
        What the model says about the clip, its branches' own reasons included.
    findings : tuple of Finding
        Where it is unlike healthy clips, the largest contribution first.
    healthy_clips : int
        With how many healthy clips it was compared; 0: none are known.
    nearest : HealthyClip or None
        The healthy clip that it is most like.
    notes : tuple of str
        What could not be found out, and why.
    edges : float64 array of shape (n_bands + 1,)
        Of the bands, in Hz.
    levels : float32 array of shape (n_frames, n_bands)
        Of the clip in dB of full scale; a frame every `hop` seconds.
    healthy : float64 array of shape (3, n_bands), or None
        5, 50 and 95 % quantiles of the healthy clips' mean levels.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    healthy_clips: int
    nearest: HealthyClip | None
    notes: tuple[str, ...]
    edges: Float64 = field(repr=False, compare=False)
    levels: Float32 = field(repr=False, compare=False)
    healthy: Float64 | None = field(repr=False, compare=False)
    hop: float = HOP

    @property
    def stands_out(self) -> bool:
        """Whether anything does."""
        return bool(self.findings)

    def sentences(self) -> list[str]:
        """Return the explanation for people, a sentence or a place an item, the most important first."""
        verdict = self.verdict
        word = "anomalous" if verdict.anomalous else "normal"
        lines = [f"{verdict.clip}: {word}, p-value {verdict.p_value:.3f}."]
        for number, finding in enumerate(self.findings, start=1):
            share = "" if finding.contribution is None else f" ({finding.contribution:.0%} of the unusual score)"
            lines.append(f"{number}. {_capital(finding.text(self.healthy_clips))}{share}.")
        if not self.findings:
            lines.append(self._nothing())
        for branch in verdict.branches:
            if branch.reasons:
                texts = ", ".join(text for text, _ in branch.reasons[:3])
                named = f"Branch {branch.name}" if len(verdict.branches) > 1 else "The clip as a whole"
                lines.append(f"{named}: {texts}.")
        if self.nearest:
            lines.append(
                f"Most like the healthy clip {self.nearest.name}"
                + (f" from {self.nearest.start:g} s" if self.nearest.start else "")
                + f" (half of the bands differ by less than {decibels(self.nearest.difference)})."
            )
        return [*lines, *(f"Note: {note}." for note in (*verdict.notes, *self.notes))]

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def _nothing(self) -> str:
        if self.verdict.anomalous:
            return "The score is unusual, but no time or band accounts for it."
        if not self.healthy_clips:
            return "Nothing stands out in the score."
        return f"Nothing stands out: each level is one that some of {self.healthy_clips} healthy clips have."

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        verdict = self.verdict
        return {
            **verdict.as_dict(),
            "stands_out": self.stands_out,
            "findings": [each.to_dict(self.healthy_clips) for each in self.findings],
            "healthy_clips": self.healthy_clips,
            "nearest": None if self.nearest is None else self.nearest.to_dict(),
            "spectrum": {
                "edges": self.edges.round(1).tolist(),
                "clip": self.levels.mean(axis=0, dtype=float).round(2).tolist(),
                "healthy": None if self.healthy is None else self.healthy.round(2).tolist(),
            },
            "windows": {
                "start": verdict.window_start.round(4).tolist(),
                "score": verdict.window_scores.tolist(),
            },
            "explanation_notes": list(self.notes),
            "sentences": self.sentences(),
        }


def explain(model: Model, clip: Clip, *, healthy: Sequence[Clip] = ()) -> Explanation:
    """Explain what a model says about a clip.

    Parameters
    ----------
    model : Model
        A fitted model.
    clip : Clip
        The clip.
    healthy : sequence of Clip
        Healthy clips at hand: those of the fit, if possible, so that the most similar one is found again, and can stand
        for what is unusual. A model that keeps no healthy levels is explained by comparison with them.

    Raises
    ------
    AudioError
        If the clip cannot be read, is silent, or is too short to be explained.
    """
    audio = read(clip, channel=model.config.channel)
    samples, rate = audio.samples[0], audio.sample_rate
    _check(clip, samples, rate)
    verdict = next(model.score([clip]))
    if isinstance(verdict, Failure):
        raise verdict.error
    spectra = Spectra(levels_of(samples, rate), band_edges(rate / 2))
    reference, notes = _reference(model, healthy)
    if reference is not None:
        bands = min(reference.bands, spectra.levels.shape[1])
        reference, spectra = reference.up_to(bands), spectra.up_to(bands)
    nearest = None if reference is None else _nearest(model, reference, spectra, healthy)
    places = _Places(model, clip, samples, rate, spectra, reference, nearest)
    findings = places.findings(verdict)
    return Explanation(
        verdict=verdict,
        findings=tuple(findings),
        healthy_clips=0 if reference is None else len(reference),
        nearest=nearest,
        notes=(*notes, *places.notes),
        edges=spectra.edges,
        levels=spectra.levels,
        healthy=None if reference is None else reference.healthy_band(),
    )


def most_unusual(model: Model, clips: Sequence[Clip]) -> Clip:
    """Return the clip with the smallest p-value, of these the one with the highest score.

    Raises
    ------
    AudioError
        If none can be read; that of the first.
    """
    if len(clips) == 1:
        return clips[0]
    results = list(model.score(clips))
    verdicts = [each for each in results if isinstance(each, Verdict)]
    if not verdicts and isinstance(results[0], Failure):
        raise results[0].error
    return min(verdicts, key=lambda verdict: (verdict.p_value, -verdict.score)).clip


def _check(clip: Clip, samples: Float32, rate: int) -> None:
    if not samples.any():
        raise AudioError(f"{clip}: digital silence: nothing to explain; is the microphone connected?")
    seconds = len(samples) / rate
    if seconds < _LEAST_SECONDS:
        raise AudioError(
            f"{clip}: lasts {seconds:.3g} s; an explanation takes {_LEAST_SECONDS:.3g} s or more: record longer clips"
        )


def _reference(model: Model, healthy: Sequence[Clip]) -> tuple[Reference | None, list[str]]:
    """Return the levels of healthy clips: the model's, or else those of the clips at hand; and what is to be noted."""
    if model.reference is not None:
        return model.reference, []
    contents = {path: content_of(path) for path in {clip.path for clip in healthy} if path.exists()}
    at_hand = [clip for clip in healthy if clip.path in contents]
    learned = Reference.learned(at_hand, contents, channel=model.config.channel, cache=model.pipeline.cache)
    if learned is not None:
        return learned, ["the model keeps no healthy levels: compared with the healthy clips that were named"]
    return None, [
        "the model keeps no healthy levels: only its score is explained; name healthy clips (--healthy), or fit again "
        "on clips of half a second or more"
    ]


def _nearest(model: Model, reference: Reference, spectra: Spectra, healthy: Sequence[Clip]) -> HealthyClip:
    number, difference = reference.nearest(spectra.levels.mean(axis=0, dtype=np.float64))
    sha256, (start, duration) = reference.digest(number), reference.extent(number)
    known = {entry["sha256"]: entry["name"] for entry in (*model.training, *model.recalibration)}
    name = known.get(sha256)
    paths = dict.fromkeys(clip.path for clip in healthy)
    # Files that are called like it first: reading all would take long.
    for path in sorted(paths, key=lambda path: path.name != name):
        if path.exists() and content_of(path) == sha256:
            return HealthyClip(name or path.name, sha256, start, duration, difference, path)
    return HealthyClip(name or sha256[:12], sha256, start, duration, difference)


class _Places:
    """Finds the places, and what each adds to the score."""

    def __init__(
        self,
        model: Model,
        clip: Clip,
        samples: Float32,
        rate: int,
        spectra: Spectra,
        reference: Reference | None,
        nearest: HealthyClip | None,
    ) -> None:
        self.model, self.clip, self.rate = model, clip, rate
        self.spectra, self.reference = spectra, reference
        self.notes: list[str] = []
        usual = None if reference is None else reference.healthy_band()[1]
        self.occluder = Occluder(samples, rate, spectra.edges, healthy=self._sound(nearest), usual=usual)

    @property
    def _limit(self) -> float:
        return STANDS_OUT if self.reference is None else max(STANDS_OUT, 1 / (len(self.reference) + 1))

    def _sound(self, nearest: HealthyClip | None) -> Float32 | None:
        if nearest is None or nearest.path is None:
            return None
        clip = Clip(nearest.path, nearest.start, nearest.duration)
        samples: Float32 = read(clip, sample_rate=self.rate, channel=self.model.config.channel).samples[0]
        return samples if len(samples) >= _LEAST_SECONDS * self.rate else None

    def findings(self, verdict: Verdict) -> list[Finding]:
        """Return the places that stand out, or that the unusual score comes from."""
        unusual = verdict.anomalous or verdict.p_value <= STANDS_OUT
        levels = self.spectra.levels
        candidates = [] if self.reference is None else self.reference.candidates(levels, most=MOST)
        if not unusual:
            return [self._finding(region, p) for region, p in candidates if p <= self._limit]
        shares = self._contributions([_patch(region) for region, _ in candidates])
        found = [
            self._finding(region, p_value, shares[i])
            for i, (region, p_value) in enumerate(candidates)
            if p_value <= self._limit or shares[i, 0] >= _CONTRIBUTES
        ]
        if verdict.anomalous and sum(each.contribution or 0.0 for each in found) < _EXPLAINED:
            found += self._tried()
        # What adds alike is ranked by how unlike the levels are: the candidates come in that order.
        return sorted(found, key=lambda each: -round((each.contribution or 0.0) * 10))

    def _contributions(self, patches: Sequence[Patch]) -> Float64:
        """Return what patches add to the score, and to that of each branch, float64[n_patches, 1 + n_branches]."""

        def scored(sets: Sequence[Sequence[int]]) -> Float64:
            return self._lost(self.occluder.without([patches[i] for i in each], patches) for each in sets)

        return shared_out(scored, len(patches))

    def _lost(self, versions: Iterator[Float32]) -> Float64:
        return scores_of_versions(self.model, self.clip, versions, self.rate, self.model.config.channel).lost()

    def _finding(self, region: Region, p_value: float, shares: Float64 | None = None) -> Finding:
        assert self.reference is not None
        levels, edges = self.spectra.levels, self.spectra.edges
        difference, beyond, exceeded = self.reference.beyond(region, levels)
        named = () if shares is None else zip(self.model.config.names, shares[1:], strict=True)
        offset = self.clip.start
        return Finding(
            start=offset + region.start,
            end=offset + region.end,
            low=float(edges[region.low]),
            high=float(edges[region.high]),
            direction=region.direction,
            contribution=None if shares is None else float(shares[0]),
            difference=difference,
            beyond=beyond,
            exceeded=exceeded,
            p_value=p_value,
            manner=_manner(region, levels),
            branches=_by_name(named),
        )

    def _tried(self) -> list[Finding]:
        """Return the interval and the bands without which the score falls most, found one by one."""
        frames, bands = self.spectra.levels.shape
        ends = np.linspace(0, frames, min(_INTERVALS, frames // scan.WIDTH) + 1).astype(int)
        steps = np.linspace(0, bands, min(_BAND_GROUPS, bands) + 1).astype(int)
        times = [Patch(int(a), int(b), 0, bands) for a, b in pairwise(ends)]
        groups = [Patch(0, frames, int(a), int(b)) for a, b in pairwise(steps)]
        whole = self._lost(self.occluder.without([patch]) for patch in (*times, *groups))[:, 0].clip(0.0, 1.0)
        lost, lost_bands = whole[: len(times)], whole[len(times) :]
        if max(lost.max(), lost_bands.max()) < _CONTRIBUTES:
            if not self.occluder.knows_healthy:
                self.notes.append("name the healthy recordings (--healthy) to let them stand for parts of the clip")
            return []
        first, last = scan.largest_interval(lost - _SHARE * lost.max()) if lost.max() > 0 else (0, len(times))
        low, high = (
            scan.largest_interval(lost_bands - _SHARE * lost_bands.max()) if lost_bands.max() > 0 else (0, len(groups))
        )
        patch = Patch(int(ends[first]), int(ends[last]), int(steps[low]), int(steps[high]))
        ((together, *own),) = self._contributions([patch])
        contribution = max(together, min(lost.max(), lost_bands.max()))
        if contribution < _CONTRIBUTES:
            return []
        region = Region("louder", patch.first, patch.last, patch.low, patch.high, 0.0)
        named = zip(self.model.config.names, own, strict=True)
        edges, offset = self.spectra.edges, self.clip.start
        return [
            Finding(
                start=offset + region.start,
                end=offset + region.end,
                low=float(edges[region.low]),
                high=float(edges[region.high]),
                direction="unlike",
                contribution=float(contribution),
                branches=_by_name(named),
            )
        ]


def _by_name(contributions: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return what a place adds to branches, by their names without those of distributions."""
    return {name.rpartition(":")[2]: float(value) for name, value in contributions if value >= _CONTRIBUTES}


def _patch(region: Region) -> Patch:
    """Return what is replaced of a place: all that is unlike with it, though its band is the one that is most."""
    return Patch(region.first, region.last, *region.reach)


def _manner(region: Region, levels: Float32) -> Literal["", "in peaks", "in gaps"]:
    part = slice(region.first, region.last), slice(region.low, region.high)
    loudest = scan.envelope(levels, region.direction)[part].mean()
    if abs(float(loudest - levels[part].mean())) < _PEAKS:
        return ""
    return "in peaks" if region.direction == "louder" else "in gaps"


def decibels(value: float) -> str:
    """Return a difference for people, such as ``14 dB`` or ``2.5 dB``."""
    return f"{value:.0f} dB" if abs(value) >= 10 else f"{value:.1f} dB"


def frequencies(low: float, high: float) -> str:
    """Return a band for people, such as ``2.1–2.6 kHz`` or ``60–120 Hz``."""
    if high < 1000:
        return f"{low:.0f}–{high:.0f} Hz"
    return f"{low:.0f} Hz–{high / 1000:.2g} kHz" if low < 1000 else f"{low / 1000:.2g}–{high / 1000:.2g} kHz"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
