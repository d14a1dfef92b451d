"""Tiny models with seeded random weights, saved as a publisher would save them."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.utils import logging

from asd.plugin import Float32

_BODY = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
_SPEECH = {**_BODY, "conv_dim": (8,) * 7, "num_conv_pos_embedding_groups": 2}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for a second thread than they gain by it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a maker of model folders by family; each is made once and must not be changed."""
    made: dict[str, Path] = {}

    def publish(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            save(*build(family), made[family])
        return made[family]

    return publish


@pytest.fixture
def own_copy(published: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a maker of copies of a model's folder that a test may damage."""
    return lambda family: shutil.copytree(published(family), tmp_path / family)


@pytest.fixture
def noise() -> Callable[..., Float32]:
    """Return a maker of windows of seeded noise, float32[count, samples]."""

    def make(count: int, samples: int, seed: int = 0) -> Float32:
        return np.random.default_rng(seed).normal(0, 0.1, (count, samples)).astype(np.float32)

    return make


def save(model: Any, feature_extractor: Any, folder: Path, **options: Any) -> None:
    """Save a model with its feature extractor, without the progress bar."""
    logging.disable_progress_bar()
    model.save_pretrained(folder, **options)
    if feature_extractor is not None:
        feature_extractor.save_pretrained(folder)


def build(family: str) -> tuple[Any, Any]:
    """Return a tiny model of a family, its weights seeded, with its feature extractor."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter has all zero values")
        model, feature_extractor = _BUILDERS[family]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Tokens and positions begin at zero, norms at one: as they are trained, a mistake in them would show.
            parameter.add_(0.1 * torch.randn_like(parameter) if parameter.dim() < 4 else 0)
            assert torch.isfinite(parameter).all(), name
    return model.eval(), feature_extractor


def _ast() -> tuple[Any, Any]:
    config = transformers.ASTConfig(**_BODY, max_length=128)
    return transformers.ASTModel(config), transformers.ASTFeatureExtractor(max_length=128)


def _clap(*, fused: bool) -> tuple[Any, Any]:
    body = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "projection_dim": 8}
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "window_size": 4,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "enable_fusion": fused,
        "projection_dim": 8,
    }
    text = {**body, "vocab_size": 64, "num_hidden_layers": 1, "max_position_embeddings": 32}
    config = transformers.ClapConfig(audio_config=copy.deepcopy(audio), text_config=text, projection_dim=8)
    truncation = "fusion" if fused else "rand_trunc"
    feature_extractor = transformers.ClapFeatureExtractor(feature_size=16, max_length_s=2, truncation=truncation)
    return transformers.ClapModel(config), feature_extractor


def _whisper() -> tuple[Any, Any]:
    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        vocab_size=64,
        max_source_positions=100,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        begin_suppress_tokens=None,
    )
    return transformers.WhisperModel(config), transformers.WhisperFeatureExtractor(chunk_length=2)


def _speech(model: str, **changes: Any) -> tuple[Any, Any]:
    config = getattr(transformers, f"{model}Config")(**{**_SPEECH, **changes})
    return getattr(transformers, f"{model}Model")(config), transformers.Wav2Vec2FeatureExtractor()


def _wav2vec2_bert() -> tuple[Any, Any]:
    config = transformers.Wav2Vec2BertConfig(**_BODY, feature_projection_input_dim=160)
    return transformers.Wav2Vec2BertModel(config), transformers.SeamlessM4TFeatureExtractor()


_BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "ast": _ast,
    "clap": lambda: _clap(fused=False),
    "clap-fused": lambda: _clap(fused=True),
    "data2vec": lambda: _speech("Data2VecAudio"),
    "hubert": lambda: _speech("Hubert"),
    "sew": lambda: _speech("SEW", conv_dim=(8,) * 13),
    "wav2vec2": lambda: _speech("Wav2Vec2"),
    "wav2vec2-bert": _wav2vec2_bert,
    "wavlm": lambda: _speech("WavLM"),
    "whisper": _whisper,
}
