"""Any network that Essentia runs, from its graph."""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import AsdError, ConfigError
from asd.plugin import Extractor, Float32, Representation, check_weights, digest_of, resolve_weights
from asd_essentia import engine, graph
from asd_essentia.published import PUBLISHED, Published

_SAMPLE_RATES = {"TensorflowPredictFSDSINet": 22050, "TensorflowPredictTempoCNN": 11025}
_USUAL_SAMPLE_RATE = 16000
_METADATA_BYTES = 10_000_000
_HIGHEST_RATE = 1_000_000
"""In Hz."""
_PARAMETERS = ("graph", "sha256")
_DIGITS = 64  # a graph is a program: the leading digits of its hash are not enough


class EssentiaModel(Extractor):
    """Output of a node of a network that Essentia runs in a worker process, averaged over the patches of a window.

    Parameters
    ----------
    model : str or None
        A model of Essentia's site by name (vggish, discogs-effnet), which determines the algorithm and the output.
    graph : str or None
        The network: a .pb file, or its URL together with sha256. None: the named model's URL.
    sha256 : str or None
        SHA-256 that the graph must have, all 64 digits; a URL is not used without it.
    metadata : str or None
        The .json file that Essentia's site offers with the graph. None: the one beside the graph, if there is one.
    algorithm : str or None
        Essentia's algorithm (TensorflowPredictVGGish …). None: as the metadata state.
    input : str or None
        Node that takes the windows. None: as the metadata state, else the algorithm's usual one.
    output : str or None
        Node whose output is the embedding. None: as the metadata state.

    References
    ----------
    Alonso-Jiménez et al. 2020, Tensorflow audio models in Essentia, arXiv:2003.07393; https://essentia.upf.edu/models.
    """

    isolation = "process"

    def __init__(
        self,
        *,
        model: str | None = None,
        graph: str | None = None,
        sha256: str | None = None,
        metadata: str | None = None,
        algorithm: str | None = None,
        input: str | None = None,  # noqa: A002  # Essentia's own name for it
        output: str | None = None,
    ) -> None:
        self.model = model
        self.graph = graph
        self.sha256 = sha256
        self.metadata = metadata
        self.algorithm = algorithm
        self.input = input
        self.output = output
        self._check()

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, Any]:
        """Return the path of a small graph that serves every published model; see `asd.plugin.Component`."""
        return {"graph": str(resources.files("asd_essentia") / "data" / "example.pb")}

    def _check(self) -> None:
        if self.model is not None and self.model not in PUBLISHED:
            raise ConfigError(f"unknown model {self.model!r}; known: {', '.join(PUBLISHED)}, or give a graph")
        if self._source is None:
            raise ConfigError("essentia needs --extractor.graph: a .pb file from https://essentia.upf.edu/models")
        if self.graph is None and self._published and self.sha256 is None:
            raise ConfigError(
                f"{self._source} ({self._published.size}, {self._published.licence}) needs --extractor.sha256, the "
                "file's SHA-256, to be trusted; or fetch it yourself and give --extractor.graph FILE"
            )
        check_weights(self._source, (), sha256=self.sha256, parameters=_PARAMETERS, digits=_DIGITS)

    @property
    def _published(self) -> Published | None:
        return PUBLISHED[self.model] if self.model else None

    @property
    def _source(self) -> str | None:
        return self.graph or (self._published.url if self._published else None)

    @property
    def consumes(self) -> Representation:
        """A waveform at the network's sample rate."""
        stated = self._stated.get("inference", {}).get("sample_rate")
        rate = stated or _SAMPLE_RATES.get(self.algorithm or "", _USUAL_SAMPLE_RATE)
        return Representation("waveform", (None,), int(rate))

    @property
    def dimension(self) -> int | None:
        """Length of an embedding as the metadata state; None if they do not."""
        if self._published:
            return self._published.dimension
        shape = next((o.get("shape") or [None] for o in self._outputs if o.get("name") == self._output), [None])
        return int(shape[-1]) if shape[-1] else None

    def embed(self, values: Any) -> Float32:
        """Return embeddings, float32[n_windows, dimension].

        Parameters
        ----------
        values : float32 array of shape (n_windows, samples)
            At least as long as the network's patch.

        Raises
        ------
        AsdError
            If Essentia is not installed, the graph cannot be had or lacks the node, or the windows are too short.
        """
        windows = np.asarray(values, np.float32)
        algorithm = self._algorithm
        graph.check_node(self._path, self._output)
        parameters: dict[str, Any] = {"graphFilename": str(self._path), "output": self._output}
        if self._input:
            graph.check_node(self._path, self._input)
            parameters["input"] = self._input
        if self.runtime.batch_size:
            parameters["batchSize"] = self.runtime.batch_size
        if not len(windows):
            return np.zeros((0, self.dimension or 0), np.float32)
        if algorithm in engine.FRAMINGS:
            return _by_patches(windows, algorithm, self.consumes.sample_rate, parameters)
        return _by_windows(windows, algorithm, parameters)

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the graph by its name."""
        return {self._path.name: digest_of(self._path)}

    @functools.cached_property
    def _path(self) -> Path:
        return resolve_weights(self._source or "", {}, sha256=self.sha256, parameters=_PARAMETERS, digits=_DIGITS)

    @functools.cached_property
    def _stated(self) -> dict[str, Any]:
        """The metadata; empty if there are none."""
        path = Path(self.metadata or Path(self._source or "").with_suffix(".json")).expanduser()
        if self.metadata is None and not path.is_file():  # as beside a URL
            return {}
        try:
            if path.exists() and not path.is_file():  # reading a pipe or a device might never end
                raise AsdError(f"{path}: no regular file; give the metadata (.json) of a model")
            if path.exists() and path.stat().st_size > _METADATA_BYTES:
                raise ValueError(f"longer than {_METADATA_BYTES:,} bytes")
            stated = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise AsdError(f"{path}: cannot read these metadata ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise AsdError(f"{path}: not the metadata (.json) of a model: {error}; fetch it again") from error
        if not _are_metadata(stated):
            raise AsdError(f"{path}: not the metadata (.json) of a model; fetch it again")
        return dict(stated)

    @property
    def _outputs(self) -> list[dict[str, Any]]:
        return list(self._stated.get("schema", {}).get("outputs", []))

    @property
    def _algorithm(self) -> str:
        stated = self._stated.get("inference", {}).get("algorithm")
        chosen = self.algorithm or (self._published.algorithm if self._published else stated)
        if not chosen:
            raise ConfigError(
                f"{self._source}: which algorithm of Essentia runs it? Give --extractor.algorithm "
                f"({', '.join(engine.FRAMINGS)} …) or --extractor.metadata FILE.json"
            )
        return str(chosen)

    @property
    def _input(self) -> str | None:
        inputs = self._stated.get("schema", {}).get("inputs", [])
        return self.input or (inputs[0].get("name") if inputs else None)

    @property
    def _output(self) -> str:
        embeddings = [o["name"] for o in self._outputs if o.get("output_purpose") == "embeddings" and "name" in o]
        named = self._published.output if self._published else None
        # Without metadata: a name that no graph has, so that the error lists those of this one.
        return self.output or named or next(iter(embeddings), "output (give --extractor.output)")


def _are_metadata(stated: Any) -> bool:
    """Return whether the parts that are used are of the types that Essentia's site gives them."""
    if not isinstance(stated, dict):
        return False
    inference, schema = stated.get("inference", {}), stated.get("schema", {})
    if not (isinstance(inference, dict) and isinstance(schema, dict)):
        return False
    inputs, outputs = schema.get("inputs", []), schema.get("outputs", [])
    if not (isinstance(inputs, list) and isinstance(outputs, list)):
        return False
    rate, algorithm = inference.get("sample_rate"), inference.get("algorithm")
    return (
        all(isinstance(node, dict) and _is_node(node) for node in (*inputs, *outputs))
        and (rate is None or (isinstance(rate, int) and 0 < rate < _HIGHEST_RATE))
        and isinstance(algorithm, str | None)
    )


def _is_node(node: dict[str, Any]) -> bool:
    name, shape = node.get("name", ""), node.get("shape") or [None]
    return isinstance(name, str) and isinstance(shape, list) and isinstance(shape[-1], int | None)


def _by_patches(windows: Float32, algorithm: str, sample_rate: int | None, parameters: dict[str, Any]) -> Float32:
    """Return the mean over the patches, half a patch apart, of each window."""
    framing = engine.FRAMINGS[algorithm]
    _check_length(windows, framing.samples, algorithm, sample_rate)
    hop = framing.patch // 2 * framing.hop
    patches = np.lib.stride_tricks.sliding_window_view(windows, framing.samples, axis=1)[:, ::hop]
    predicted = framing.predict(patches.reshape(-1, framing.samples), algorithm, **parameters)
    found: Float32 = predicted.reshape(len(windows), patches.shape[1], -1).mean(axis=1)
    return found


def _by_windows(windows: Float32, algorithm: str, parameters: dict[str, Any]) -> Float32:
    """Return the mean of what the algorithm gives for each window by itself."""
    run = engine.create(algorithm, **parameters)
    found = []
    for window in windows:
        predicted = engine.called(run, algorithm, window)
        if not predicted.size:
            raise AsdError(_too_short(algorithm, f"{len(window)} samples", "one patch of the network"))
        found.append(predicted.reshape(len(predicted), -1).mean(axis=0))
    return np.stack(found)


def _check_length(windows: Float32, least: int, algorithm: str, sample_rate: int | None) -> None:
    rate = sample_rate or _USUAL_SAMPLE_RATE
    if windows.ndim != 2 or windows.shape[1] < least:
        got = f"{windows.shape[-1] / rate:.4g} s"
        raise AsdError(_too_short(algorithm, got, f"{np.ceil(1000 * least / rate) / 1000:g} s"))


def _too_short(algorithm: str, got: str, least: str) -> str:
    return f"{algorithm} takes windows of at least {least}, got {got}; lengthen them by --frontend.window SECONDS"
