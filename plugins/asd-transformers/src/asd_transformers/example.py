"""A tiny network for a trial without the network."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path) -> Path:
    """Write a Wav2Vec2 of a few thousand seeded random weights, as a publisher would, and return its folder."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model
    from transformers.utils import logging

    place = folder / "tiny-wav2vec2"
    body = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = Wav2Vec2Config(**body, conv_dim=(8,) * 7, num_conv_pos_embedding_groups=2)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = Wav2Vec2Model(config)
    logging.disable_progress_bar()
    network.save_pretrained(place)
    Wav2Vec2FeatureExtractor().save_pretrained(place)
    return place
