"""Extractor ``onnx``: embeddings from an ONNX file of the user's."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.errors import ConfigError, WeightError
from asd.plugin import (
    CheckedExtractor,
    Float32,
    OnnxGraph,
    Representation,
    Runtime,
    check_weights,
    digest_of,
    resolve_weights,
)
from asd_onnx.checks import Declared, Shape, inspect
from asd_onnx.example import write_example
from asd_onnx.layout import Layout, usual_layout
from asd_onnx.session import Session, shape_text
from asd_onnx.wire import shown

_PARAMETERS = ("model", "model_sha256")

_MOST_TOGETHER = 4096
"""Windows that a graph may insist on at a time."""


class OnnxExtractor(CheckedExtractor):
    """An output of any network in an ONNX file, computed by ONNX Runtime.

    Parameters
    ----------
    model : str
        The ONNX file, or its URL.
    model_sha256 : str or None
        SHA-256 that the file must have, or its first 8 digits or more; a URL is not used without it.
    output : str or None
        The output that is the embedding; None: the only one. Of an output with more than two axes, the values of a
        window are taken one after another.
    input : str or None
        The input that takes the windows; None: the only one. The output must need no other.
    layout : str or None
        The input's axes after the first, in the network's order: t for waveforms and vectors, f and t for patches
        (bands, frames), c, h and w for images, 1 for an axis of size one. None: those of the front end (chw, ft, t),
        or 1ft where the network takes a patch with one channel.
    kind : str or None
        The kind of windows that the network takes (image, patch, waveform, vector or a front end's own); None: what the
        file's metadata say under ``asd.kind``, or else any kind of the input's shape.
    sample_rate : int or None
        Rate in Hz of the sound that the network takes; None: ``asd.sample_rate`` of the file's metadata, or else any.
    """

    name = "onnx"

    def __init__(
        self,
        *,
        model: str,
        model_sha256: str | None = None,
        output: str | None = None,
        input: str | None = None,  # noqa: A002  # as ONNX calls it
        layout: str | None = None,
        kind: str | None = None,
        sample_rate: int | None = None,
    ) -> None:
        self.model = model
        self.model_sha256 = model_sha256
        self.output = output
        self.input = input
        self.layout = layout
        self.kind = kind
        self.sample_rate = sample_rate
        check_weights(model, (), sha256=model_sha256, parameters=_PARAMETERS)
        if sample_rate is not None and sample_rate < 1:
            raise ConfigError(f"sample_rate must be at least 1 Hz, got {sample_rate}; leave it out for any rate")
        self._given_layout = Layout(layout) if layout is not None else None

    @property
    def consumes(self) -> Representation:
        """Windows of the shape of the network's input, of the kind and the rate that the file or the user states."""
        metadata = self._declared.metadata
        kind = self.kind or metadata.get("asd.kind") or "any"
        rate = self.sample_rate or _rate(self._path, metadata.get("asd.sample_rate"))
        sizes = self._input_shape
        if kind == "any" or sizes is None:
            return Representation("any", ())
        if self._layout:
            return Representation(kind, self._layout.window_shape(sizes[1:]), rate)
        return Representation(kind, tuple(size if isinstance(size, int) else None for size in sizes[1:]), rate)

    @property
    def dimension(self) -> int | None:
        """Length of an embedding; None if the file does not say it."""
        shape = self._declared.outputs[self._output]
        if shape is None:
            return None
        sizes = [size for size in shape[1:] if isinstance(size, int)]
        return math.prod(sizes) if len(sizes) == len(shape) - 1 else None

    def computes_with(self) -> Runtime:
        """Return the runtime with the device, the precision and the engine of the network."""
        return self._session.computes_with()

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the ONNX file, and of those beside it that hold its initialisers, by name."""
        return dict(self._hashes)

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Add the embeddings to `graph`; see `asd.plugin.OnnxGraph`."""
        if self._input_shape and isinstance(self._input_shape[0], int):
            raise NotImplementedError(f"the network takes {self._input_shape[0]} windows at a time, not any number")
        if self._layout:
            windows = self._layout.to_onnx(graph, windows)
        return graph.op("Flatten", graph.network(self._path, self._output, windows))

    def close(self) -> None:
        """End the session; the next use starts another."""
        if session := vars(self).pop("_session", None):
            session.close()

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, Any]:
        """Return a network of a few bytes, which takes windows of any shape."""
        return {"model": str(write_example(folder / "example.onnx"))}

    def _embed(self, windows: Float32) -> npt.NDArray[Any]:
        values = self._layout.apply(windows) if self._layout else windows
        (embeddings,) = self._session.run(values)
        return embeddings.reshape(len(embeddings), -1) if len(embeddings) else self._empty(embeddings)

    @staticmethod
    def _empty(embeddings: Float32) -> Float32:
        return np.empty((0, math.prod(embeddings.shape[1:])), np.float32)

    @functools.cached_property
    def _path(self) -> Path:
        return resolve_weights(self.model, {}, sha256=self.model_sha256, parameters=_PARAMETERS)

    @functools.cached_property
    def _declared(self) -> Declared:
        return inspect(self._path)

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        return {path.name: digest_of(path) for path in (self._path, *self._declared.files.values())}

    @functools.cached_property
    def _input(self) -> str:
        return _chosen(self._path, "input", self.input, self._declared.inputs)

    @functools.cached_property
    def _output(self) -> str:
        return _chosen(self._path, "output", self.output, self._declared.outputs)

    @functools.cached_property
    def _input_shape(self) -> Shape | None:
        shape = self._declared.inputs[self._input]
        if shape is not None and len(shape) < 2:
            raise ConfigError(
                f"{self._path}: its input {self._input!r} has the shape {shape_text(shape)}, expected a first axis for "
                "the windows and at least one for their values; export it for batches"
            )
        if shape and isinstance(shape[0], int) and shape[0] > _MOST_TOGETHER:
            raise ConfigError(
                f"{self._path}: takes {shape[0]:,} windows at a time, expected at most {_MOST_TOGETHER:,}; export it "
                "with a first axis of any size"
            )
        return shape

    @functools.cached_property
    def _layout(self) -> Layout | None:
        if self._given_layout or self._input_shape is None:
            return self._given_layout
        return usual_layout(self._input_shape[1:])

    @functools.cached_property
    def _session(self) -> Session:
        session = Session(self._path, self.runtime, outputs=[self._output], name=str(self._path))
        if session.input_name != self._input:
            raise ConfigError(
                f"{self._path}: the output {self._output!r} is computed from the input {session.input_name!r}, not "
                f"from {self._input!r}; leave --extractor.input out or name the other one"
            )
        return session


def _chosen(path: Path, what: str, given: str | None, there: dict[str, Shape | None]) -> str:
    """Return the input or output that is meant."""
    listed = ", ".join(
        f"{shown(name)} {shape_text(shape)}" if shape is not None else shown(name) for name, shape in there.items()
    )
    if not there:
        raise WeightError(f"{path}: has no {what}; export the network again")
    if given is None:
        if len(there) > 1:
            raise ConfigError(f"{path}: has {len(there)} {what}s; choose one by --extractor.{what}: {listed}")
        return next(iter(there))
    if given not in there:
        raise ConfigError(f"{path}: has no {what} {given!r}; there are {listed} (--extractor.{what})")
    return given


def _rate(path: Path, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise WeightError(f"{path}: its metadata say asd.sample_rate = {text[:40]!r}, expected a rate in Hz")
    return int(text)
