"""Load an audio encoder with its feature extractor; what transformers would only log becomes an error."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from transformers.utils import logging

from asd.errors import ConfigError, WeightError
from asd_torch.files import reason_of
from asd_transformers.checkpoint import Checkpoint

_AUDIO_PARTS = ("audio_model", "audio_tower", "audio_encoder", "speech_encoder")
"""What the models that take more than sound call the part that takes sound."""

_TRAINING_ONLY = ("masked_spec_embed",)
"""Parameters that some publishers leave out, as nothing in inference reads them."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' log, warnings and progress bars off the terminal."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # Such as that AST's published mel filter bank has an empty band.
            warnings.filterwarnings("ignore", module=r"transformers\.")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load(checkpoint: Checkpoint) -> tuple[torch.nn.Module, Any]:
    """Return the audio encoder in float32, ready for inference, and its feature extractor.

    Raises
    ------
    ConfigError
        If this transformers does not know the model's type, or the model does not take what the feature extractor
        gives.
    WeightError
        If the weights cannot be read or do not fit the model.
    """
    trusted = bool(checkpoint.code)
    if not trusted and checkpoint.model_type not in transformers.CONFIG_MAPPING:
        raise ConfigError(
            f"{checkpoint.name}: transformers {transformers.__version__} has no model type "
            f"{checkpoint.model_type!r}; pip install --upgrade transformers"
        )
    _ = checkpoint.weights  # they must be there, and in the right format, before anything is built
    options = {"trust_remote_code": trusted, "local_files_only": True}
    with quiet():
        try:
            feature_extractor = transformers.AutoFeatureExtractor.from_pretrained(checkpoint.folder, **options)
            model, report = transformers.AutoModel.from_pretrained(
                checkpoint.folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # the report has them, and says more than the error would
                **options,
            )
        except Exception as error:  # a damaged or foreign folder can make it fail in any way
            raise WeightError(
                f"{checkpoint.name}: transformers {transformers.__version__} cannot load it "
                f"({type(error).__name__}: {reason_of(error)})"
            ) from error
    prefix, encoder = _audio_part(model)
    _check_weights(checkpoint.name, prefix, report)
    _check_input(checkpoint, encoder, feature_extractor)
    return encoder.eval().requires_grad_(False), feature_extractor


def _audio_part(model: Any) -> tuple[str, Any]:
    """Return the prefix of its weights' names and the module that takes sound."""
    for name in _AUDIO_PARTS:
        if hasattr(model, name):
            return f"{name}.", getattr(model, name)
    if model.config.is_encoder_decoder:
        return "encoder.", model.get_encoder()
    return "", model


def _check_weights(name: str, prefix: str, report: dict[str, Any]) -> None:
    """Raise unless every parameter of the encoder came from the file: what is left out would be random."""
    needed = [key for key in report["missing_keys"] if key.startswith(prefix) and not key.endswith(_TRAINING_ONLY)]
    if needed:
        raise WeightError(
            f"{name}: its weights do not fit its config.json: {len(needed)} tensors are missing, such as "
            f"{min(needed)!r}; copy the whole model again, all files from one place"
        )
    misshapen = sorted(
        (key, given, wanted) for key, given, wanted in report["mismatched_keys"] if key.startswith(prefix)
    )
    if misshapen:
        key, given, wanted = misshapen[0]
        raise WeightError(
            f"{name}: its weights do not fit its config.json: {key!r} has shape {tuple(given)}, expected "
            f"{tuple(wanted)}; copy the whole model again, all files from one place"
        )


def _check_input(checkpoint: Checkpoint, encoder: Any, feature_extractor: Any) -> None:
    given = feature_extractor.model_input_names[0]
    takes = list(inspect.signature(encoder.forward).parameters)
    if given not in takes:
        raise ConfigError(
            f"{checkpoint.name}: its feature extractor gives {given!r}, but a model of type "
            f"{checkpoint.model_type!r} takes {takes[0]!r}: it does not take sound"
        )
