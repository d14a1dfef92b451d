"""Models that Essentia's authors publish, by name."""

from __future__ import annotations

from dataclasses import dataclass

REQUIREMENT = "essentia-tensorflow>=2.1b6.dev1110"

_SITE = "https://essentia.upf.edu/models/feature-extractors"


@dataclass(frozen=True)
class Published:
    """A model on Essentia's site.

    Parameters
    ----------
    summary : str
        What it is.
    url : str
        Where its graph is.
    size : str
        Of the graph, for people.
    licence : str
        Of the graph.
    algorithm : str
        Essentia's algorithm for it.
    output : str
        The node that gives its embedding.
    dimension : int
        Length of the embedding.
    frontend : str
        Front end whose windows are long enough for it.
    """

    summary: str
    url: str
    size: str
    licence: str
    algorithm: str
    output: str
    dimension: int
    frontend: str


PUBLISHED = {
    "vggish": Published(
        summary="VGGish trained on AudioSet",
        url=f"{_SITE}/vggish/audioset-vggish-3.pb",
        size="288 MB",
        licence="CC-BY-NC-SA-4.0",
        algorithm="TensorflowPredictVGGish",
        output="model/vggish/embeddings",
        dimension=128,
        frontend="waveform",
    ),
    "discogs-effnet": Published(
        summary="EfficientNet trained on the music styles of Discogs",
        url=f"{_SITE}/discogs-effnet/discogs-effnet-bs64-1.pb",
        size="18.4 MB",
        licence="CC-BY-NC-SA-4.0",
        algorithm="TensorflowPredictEffnetDiscogs",
        output="PartitionedCall:1",
        dimension=1280,
        frontend="effnet-waveform",
    ),
}
