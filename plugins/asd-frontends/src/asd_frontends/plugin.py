"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the front ends, and the extractors that need no network."""
    yield ComponentSpec(
        kind="frontend",
        name="mel-image",
        summary="Log-mel patches as colour images for image networks",
        target="asd_frontends.image:MelImage",
        licence="Apache-2.0",
        sample_rate=16000,
        shape=(3, 224, 224),
    )
    yield ComponentSpec(
        kind="frontend",
        name="mel-patch",
        summary="Log-mel patches for convolutional autoencoders",
        target="asd_frontends.patch:MelPatch",
        licence="Apache-2.0",
        sample_rate=16000,
        shape=(64, 64),
    )
    yield ComponentSpec(
        kind="frontend",
        name="mel-stack",
        summary="A few log-mel frames as one vector, in dB",
        target="asd_frontends.stack:MelStack",
        licence="Apache-2.0",
        sample_rate=16000,
        shape=(320,),
    )
    yield ComponentSpec(
        kind="frontend",
        name="waveform",
        summary="Windows of plain samples for extractors that make their own spectrogram",
        target="asd_frontends.waveform:Waveform",
        licence="Apache-2.0",
    )
    yield ComponentSpec(
        kind="frontend",
        name="band-waveform",
        summary="Plain samples, a second at a time, for band-levels",
        target="asd_frontends.bands:BandWaveform",
        licence="Apache-2.0",
        sample_rate=32000,
        shape=(32000,),
    )
    yield ComponentSpec(
        kind="extractor",
        name="band-levels",
        summary="Level and fluctuation of frequency bands in dB, absolute",
        target="asd_frontends.bands:BandLevels",
        licence="Apache-2.0",
        frontend="band-waveform",
    )
    yield ComponentSpec(
        kind="extractor",
        name="sound-level",
        summary="The level of the sound in dB, one value",
        target="asd_frontends.tonality:SoundLevel",
        licence="Apache-2.0",
        frontend="band-waveform",
    )
    yield ComponentSpec(
        kind="extractor",
        name="tonality",
        summary="How far tones stand out of each frequency band, in dB",
        target="asd_frontends.tonality:Tonality",
        licence="Apache-2.0",
        frontend="band-waveform",
    )
    yield ComponentSpec(
        kind="extractor",
        name="identity",
        summary="What the front end gives, one row a window",
        target="asd_frontends.identity:Identity",
        licence="Apache-2.0",
    )
    yield ComponentSpec(
        kind="extractor",
        name="mel-statistics",
        summary="Mean and deviation of each mel band: the baseline without a network",
        target="asd_frontends.statistics:MelStatistics",
        licence="Apache-2.0",
        frontend="mel-patch",
    )
