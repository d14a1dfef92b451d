"""Names that the project's own distributions provide, so that an unknown name can be answered with a pip command."""

from __future__ import annotations

KNOWN_DISTRIBUTIONS: dict[str, str] = {
    "asd-frontends": "mel-image mel-patch mel-stack waveform identity mel-statistics",
    "asd-imagenet": "alexnet densenet121 resnet18 resnet34 resnet50 squeezenet1_0 torchvision",
    "asd-sklearn": "gmm bayesian-gmm ensemble isolation-forest kde knn mahalanobis ocsvm pca-residual",
    "asd-autoencoder": "dense-ae lenet-dcae small-dcae",
    "asd-audioset": "efficientat efficientat-mel efficientat-mn04 vggish-audioset vggish-mel yamnet yamnet-mel",
    "asd-essentia": (
        "essentia essentia-discogs-effnet essentia-vggish musicnn-mel musicnn-msd musicnn-msd-essentia musicnn-mtt "
        "musicnn-mtt-essentia musicnn-waveform"
    ),
    "asd-openl3": "openl3-env openl3-mel openl3-music",
    "asd-transformers": "huggingface",
    "asd-data": (
        "dcase2020 dcase2021 dcase2022 dcase2023 dcase2024 dcase2025 dcase2026 folder manifest mimii mimii-dg "
        "mimii-due toyadmos"
    ),
}
"""Component names, separated by spaces, by distribution."""


def distribution_of(name: str) -> str | None:
    """Return the distribution known to provide component `name`, or None."""
    return next((dist for dist, names in KNOWN_DISTRIBUTIONS.items() if name in names.split()), None)
