"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, WeightFile, hookimpl

WEIGHT_LICENCE = "CC-BY-4.0"
URL = "https://github.com/marl/openl3/raw/models/"

MUSIC_MEL256 = WeightFile(
    name="openl3_audio_mel256_music-v0_4_0.h5.gz",
    licence=WEIGHT_LICENCE,
    url=f"{URL}openl3_audio_mel256_music-v0_4_0.h5.gz",
    sha256="e379f41e880b78e157c199ebddac80d3764e6a46282bcccdbe875bcf538f9afd",
)
"""The publisher states no checksums; this one is pinned by a user of the file, the public project whepper/musicpack
(research/sonic/analyzers/openl3.py). The other files are trusted on first use (`asd.plugin.locate_on_first_use`)."""


ENV_MEL256 = "openl3_audio_mel256_env-v0_4_0.h5.gz"


def _extractor(
    name: str, summary: str, *, weights: tuple[WeightFile, ...] = (), first_use: tuple[str, ...] = ()
) -> ComponentSpec:
    return ComponentSpec(
        kind="extractor",
        name=name,
        summary=summary,
        target="asd_openl3.extractor:OpenL3",
        licence=f"Apache-2.0; weights {WEIGHT_LICENCE}",
        preset={"content": name.removeprefix("openl3-")},
        requires=("torch>=2.6", "h5py>=3.8"),
        shape=(256, 199),
        dimension=512,
        weights=weights,
        first_use=first_use,
        frontend="openl3-mel",
        restricted={"weights": ("default", "random")},
    )


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the front end and the two networks."""
    yield ComponentSpec(
        kind="frontend",
        name="openl3-mel",
        summary="The spectrograms of one second at 48 kHz that OpenL3 was trained on",
        target="asd_openl3.frontend:OpenL3Spectrogram",
        licence="Apache-2.0",
        requires=("torch>=2.6",),
        sample_rate=48000,
        shape=(256, 199),
    )
    yield _extractor(
        "openl3-env", "OpenL3 trained on videos of environmental sound (AudioSet)", first_use=(ENV_MEL256,)
    )
    yield _extractor("openl3-music", "OpenL3 trained on videos of music (AudioSet)", weights=(MUSIC_MEL256,))
