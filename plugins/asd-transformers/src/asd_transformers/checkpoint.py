"""A model's settings, read before it is loaded: plain JSON, without transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from asd.errors import ConfigError, WeightError
from asd.plugin import digest_of
from asd_transformers.sources import Source, open_source

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_OTHER_FORMATS = {".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx"}


@dataclass(frozen=True)
class Checkpoint:
    """An audio model that asd may load: its settings are read and checked, its weights are not touched yet.

    Parameters
    ----------
    source : Source
        Where its files come from.
    settings : tuple of Path
        The JSON files that describe it.
    model_type : str
        Its family, as ``config.json`` names it.
    sample_rate : int
        Rate in Hz that its feature extractor asks for.
    code : tuple of Path
        Python files of its own that the user allows to run.
    """

    source: Source
    settings: tuple[Path, ...]
    model_type: str
    sample_rate: int
    code: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The model, for messages."""
        return self.source.name

    @property
    def folder(self) -> Path:
        """The folder that holds the files."""
        return self.settings[0].parent

    @cached_property
    def weights(self) -> tuple[Path, ...]:
        """The files of weights, fetched if need be.

        Raises
        ------
        WeightError
            If there are none in the safetensors format, or a part is missing.
        """
        if (single := self.source.find(_WEIGHTS)) is not None:
            return (single,)
        if (index := self.source.find(_INDEX)) is not None:
            return tuple(self._part(name) for name in _parts(index))
        others = sorted(path.name for path in self.folder.iterdir() if path.suffix in _OTHER_FORMATS)
        found = f"only {', '.join(others)}" if others else "no weights"
        raise WeightError(
            f"{self.name}: has {found}, expected {_WEIGHTS}; asd reads no other format, as reading a pickle can run "
            "code: get that file from the publisher, or convert the model on an isolated machine"
        )

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every file that decides the numbers, by name: weights, settings and permitted code."""
        files = (*self.weights, *self.settings, *self.code)
        return {path.relative_to(self.folder).as_posix(): digest_of(path) for path in files}

    def _part(self, name: str) -> Path:
        path = self.source.find(name) if Path(name).name == name else None
        if path is None:
            raise WeightError(f"{self.name}: {_INDEX} names the file {name!r}, which is not there; copy it again")
        return path


def open_checkpoint(model: str, revision: str | None, *, trust_remote_code: bool) -> Checkpoint:
    """Read and check the settings of an audio model.

    Parameters
    ----------
    model : str
        Folder, or name on the hub.
    revision : str or None
        Branch, tag or commit on the hub.
    trust_remote_code : bool
        Whether Python code that comes with the model may run.

    Raises
    ------
    ConfigError
        If there is no such model, it is not one of audio, or it asks to run its own code without permission.
    WeightError
        If the hub does not give it.
    """
    source = open_source(model, revision)
    config_file = source.find("config.json")
    if config_file is None:
        raise ConfigError(f"{source.name}: holds no config.json, so it is no model in the Hugging Face format")
    config = _read(config_file)
    found = (source.find(name) for name in ("processor_config.json", "preprocessor_config.json"))
    files = tuple(path for path in found if path is not None)
    extractor = _feature_extractor([_read(path) for path in files])
    model_type = str(config.get("model_type", "unnamed"))
    rate = _sample_rate(source.name, model_type, extractor)
    wishes = [wish for table in (config, extractor) for wish in _foreign_code(table)]
    _check_permission(source.name, wishes, trust_remote_code)
    code = tuple(source.code()) if wishes else ()
    return Checkpoint(source, (config_file, *files), model_type, rate, code)


def _feature_extractor(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings that `AutoFeatureExtractor` takes: those nested in the processor's go first."""
    for table in tables:
        nested = table.get("feature_extractor", table.get("audio_processor"))
        if isinstance(nested, dict):
            return nested
    return tables[-1] if tables else {}


def _sample_rate(name: str, model_type: str, extractor: Mapping[str, Any]) -> int:
    rate = extractor.get("sampling_rate")
    if isinstance(rate, int) and rate > 0:
        return rate
    lack = "its preprocessor_config.json states no sampling_rate" if extractor else "it has no preprocessor_config.json"
    raise ConfigError(
        f"{name}: a model of type {model_type!r} that does not take sound ({lack}); choose an audio model such as "
        "AST, CLAP, WavLM or Whisper, with all its files"
    )


def _foreign_code(table: Any) -> Iterator[str]:
    """Yield each wish for code from outside transformers: own classes, or compiled kernels of the hub."""
    if not isinstance(table, dict):
        return
    for key, value in table.items():
        if key == "auto_map" and value:
            yield from map(str, value.values() if isinstance(value, dict) else [value])
        elif key.endswith("_implementation") and "/" in str(value):
            yield str(value)
        else:
            yield from _foreign_code(value)


def _check_permission(name: str, wishes: list[str], trust_remote_code: bool) -> None:
    if wishes and not trust_remote_code:
        raise ConfigError(
            f"{name} asks to run its own code ({', '.join(wishes)}); read that code, and only if you trust it, add "
            "--extractor.trust_remote_code true"
        )
    elsewhere = [wish for wish in wishes if "/" in wish]
    if elsewhere:
        raise ConfigError(
            f"{name} fetches code from another repository ({elsewhere[0]}), whose content asd cannot verify; "
            "copy that code beside the weights and name it in config.json without its repository"
        )


def _parts(index: Path) -> list[str]:
    weight_map = _read(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightError(f"{index}: names no files of weights; copy it again")
    return sorted({str(name) for name in weight_map.values()})


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}); copy it again from its source") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no settings (a JSON object); copy it again from its source")
    return content
