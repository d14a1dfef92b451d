"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the front ends, and the extractors that need no network."""
    # Their sums are NumPy's, or products of matrices that are cut into pieces too small for several threads.
    for spec in (*_of_networks(), *_frontends(), *_extractors()):
        yield replace(spec, any_threads=True)


def _frontends() -> Iterator[ComponentSpec]:
    """Yield the front ends that belong to no network."""
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
        kind="frontend",
        name="envelope-waveform",
        summary="Plain samples, five seconds at a time, for envelope",
        target="asd_frontends.envelope:EnvelopeWaveform",
        licence="Apache-2.0",
        sample_rate=32000,
        shape=(160000,),
    )


def _extractors() -> Iterator[ComponentSpec]:
    """Yield the extractors, which need no network."""
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
        name="envelope",
        summary="What repeats in each frequency band, such as knocks, in dB",
        target="asd_frontends.envelope:Envelope",
        licence="Apache-2.0",
        frontend="envelope-waveform",
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


def _of_networks() -> Iterator[ComponentSpec]:
    """Yield the front ends that pretrained networks of sound were trained with."""
    yield ComponentSpec(
        kind="frontend",
        name="efficientat-mel",
        summary="Log-mel windows as EfficientAT was trained on, 32 kHz",
        target="asd_frontends.efficientat:EfficientATMel",
        licence="Apache-2.0",
        sample_rate=32000,
        shape=(128, 100),
        aliases=("asd-audioset:efficientat-mel",),
    )
    for network, summary in (("yamnet", "YAMNet"), ("vggish", "VGGish")):
        yield ComponentSpec(
            kind="frontend",
            name=f"{network}-mel",
            summary=f"Log-mel patches of 0.96 s as {summary} was trained on, 16 kHz",
            target="asd_frontends.audioset:PatchMel",
            licence="Apache-2.0",
            preset={"network": network},
            sample_rate=16000,
            shape=(96, 64),
            aliases=(f"asd-audioset:{network}-mel",),
        )
    yield ComponentSpec(
        kind="frontend",
        name="musicnn-mel",
        summary="Log-mel windows as MusiCNN was trained on, 16 kHz",
        target="asd_frontends.musicnn:MusicnnMel",
        licence="Apache-2.0",
        sample_rate=16000,
        shape=(62, 96),
        aliases=("asd-essentia:musicnn-mel",),
    )
    yield ComponentSpec(
        kind="frontend",
        name="aisfx-mel",
        summary="Log-mel blocks of 2.3 s as aiSFX was trained on, 44.1 kHz",
        target="asd_frontends.aisfx:AisfxMel",
        licence="Apache-2.0",
        sample_rate=44100,
        shape=(100, 96),
    )
