"""What a user reads when a model cannot be used: one line that says what came, what was expected, how to mend it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from asd.errors import AsdError, ConfigError, WeightError
from asd.experiment import Config, Pipeline
from asd.plugin import Float32, create

Copies = Callable[[str], Path]
Noise = Callable[..., Float32]


def extractor(folder: Path | str, **parameters: Any) -> Any:
    return create("extractor", "huggingface", {"model": str(folder), **parameters})


def told(kind: type[AsdError], action: Callable[[], Any]) -> str:
    """Return the text of the error that an action raises; it must be one line."""
    with pytest.raises(kind) as raised:
        action()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_missing_model_option() -> None:
    assert told(ConfigError, lambda: create("extractor", "huggingface")) == (
        "extractor 'huggingface' needs --extractor.model"
    )


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"model": " "}, "huggingface: model is empty, expected a folder or a name on the hub (owner/name)"),
        (
            {"layer": "last"},
            "extractor 'huggingface': parameter 'layer' takes a whole number or a comma-separated list",
        ),
        ({"layer": "1,1"}, "huggingface: layer is (1, 1), expected one index or several different ones (3,6,9)"),
        ({"layer": []}, "huggingface: layer is (), expected one index or several different ones (3,6,9)"),
        ({"pool": "median"}, "extractor 'huggingface': parameter 'pool' takes mean or max or first, got 'median'"),
    ],
)
def test_parameters(parameters: dict[str, Any], text: str) -> None:
    assert told(ConfigError, lambda: extractor(**{"folder": "a/b", **_renamed(parameters)})).startswith(text)


def _renamed(parameters: dict[str, Any]) -> dict[str, Any]:
    return {("folder" if name == "model" else name): value for name, value in parameters.items()}


def test_a_path_that_is_no_folder(tmp_path: Path, own_copy: Copies) -> None:
    missing = tmp_path / "models" / "ast"
    assert told(ConfigError, lambda: extractor(missing).consumes) == (
        f"{missing}: no such folder; give the folder of a model (with config.json, preprocessor_config.json and "
        "model.safetensors) or its name on the hub (owner/name)"
    )
    file = own_copy("wavlm") / "model.safetensors"
    assert told(ConfigError, lambda: extractor(file).consumes) == (
        f"{file} is a file; give the folder that holds config.json and model.safetensors"
    )


def test_a_revision_of_a_folder(own_copy: Copies) -> None:
    folder = own_copy("wavlm")
    assert told(ConfigError, lambda: extractor(folder, revision="main").consumes) == (
        f"{folder} is a folder, which has no revisions: leave out --extractor.revision"
    )


def test_a_folder_without_config(tmp_path: Path) -> None:
    assert told(ConfigError, lambda: extractor(tmp_path).consumes) == (
        f"{tmp_path}: holds no config.json, so it is no model in the Hugging Face format"
    )


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
def test_a_damaged_config(content: str, own_copy: Copies) -> None:
    folder = own_copy("wavlm")
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    text = told(ConfigError, lambda: extractor(folder).consumes)
    assert text.startswith(f"{folder / 'config.json'}: ")
    assert text.endswith("; copy it again from its source")


def test_a_text_model(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    assert told(ConfigError, lambda: extractor(tmp_path).consumes) == (
        f"{tmp_path}: a model of type 'bert' that does not take sound (it has no preprocessor_config.json); choose an "
        "audio model such as AST, CLAP, WavLM or Whisper, with all its files"
    )
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    assert told(ConfigError, lambda: extractor(tmp_path).embed(np.zeros((1, 16000), np.float32))) == (
        f"{tmp_path}: its feature extractor gives 'input_values', but a model of type 'bert' takes 'input_ids': "
        "it does not take sound"
    )


def test_an_image_model(own_copy: Copies) -> None:
    folder = own_copy("wavlm")
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    assert "does not take sound (its preprocessor_config.json states no sampling_rate)" in told(
        ConfigError, lambda: extractor(folder).consumes
    )


def test_a_wrong_rate_says_the_option_that_mends_it(own_copy: Copies) -> None:
    folder = own_copy("clap")
    config = {"extractor": {"name": "huggingface", "model": str(folder)}}
    assert told(ConfigError, lambda: Pipeline(Config.from_mapping(config))) == (
        "huggingface takes waveform at 48000 Hz; waveform gives it at 16000 Hz: add --frontend.sample_rate 48000"
    )
    Pipeline(Config.from_mapping({**config, "frontend": {"name": "waveform", "sample_rate": 48000}}))


def test_an_unknown_layer_lists_the_layers(own_copy: Copies, noise: Noise) -> None:
    folder = own_copy("whisper")
    for layer in (3, -4):
        made = extractor(folder, layer=layer)
        assert told(ConfigError, partial(made.embed, noise(1, 16000))) == (
            f"{folder} has no layer {layer}; it has 0, 1, 2 (0 is what enters the first block, -1 the last)"
        )


def test_maps_have_no_first_token(own_copy: Copies, noise: Noise) -> None:
    assert told(ConfigError, lambda: extractor(own_copy("clap"), pool="first").embed(noise(1, 48000))) == (
        "--extractor.pool first: this model's hidden states are maps without a first token; use mean or max"
    )


@pytest.mark.parametrize(
    ("family", "longest", "seconds"), [("whisper", 32000, 2), ("clap", 96000, 2), ("ast", 20879, 1.3)]
)
def test_windows_longer_than_the_model_looks(
    family: str, longest: int, seconds: float, own_copy: Copies, noise: Noise
) -> None:
    made = extractor(own_copy(family))
    assert made.embed(noise(1, longest)).shape == (1, 16)
    text = told(ConfigError, lambda: made.embed(noise(1, longest + 1)))
    assert f"takes at most {longest / made.consumes.sample_rate:.4g} s" in text
    mended = float(re.search(r"shorten them with --frontend\.window ([\d.]+)$", text)[1])  # type: ignore[index]
    assert mended == seconds
    made.embed(noise(1, round(mended * made.consumes.sample_rate)))


@pytest.mark.parametrize("family", ["ast", "clap", "sew", "wav2vec2-bert", "wavlm", "whisper"])
def test_windows_too_short_to_hear_anything(family: str, own_copy: Copies, noise: Noise) -> None:
    made = extractor(own_copy(family))
    shortest = made.consumes.sample_rate // 10
    assert np.isfinite(made.embed(noise(2, shortest))).all()
    assert told(ConfigError, lambda: made.embed(noise(1, shortest // 2))).endswith(
        "has no positions in windows of 0.05 s; lengthen them to 0.1 s or more with --frontend.window"
    )


def test_pickled_weights_are_not_read(own_copy: Copies, noise: Noise) -> None:
    folder = own_copy("wavlm")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    expected = (
        f"{folder}: has only pytorch_model.bin, expected model.safetensors; asd reads no other format, as reading a "
        "pickle can run code: get that file from the publisher, or convert the model on an isolated machine"
    )
    assert told(WeightError, lambda: extractor(folder).embed(noise(1, 16000))) == expected
    assert told(WeightError, lambda: extractor(folder).weight_hashes()) == expected
    (folder / "pytorch_model.bin").unlink()
    assert "has no weights, expected model.safetensors" in told(
        WeightError, lambda: extractor(folder).embed(noise(1, 16000))
    )


def test_weights_that_lack_a_tensor_do_not_pass(own_copy: Copies, noise: Noise) -> None:
    folder = own_copy("wavlm")
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layers.1.layer_norm.weight"], tensors["masked_spec_embed"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert told(WeightError, lambda: extractor(folder).embed(noise(1, 16000))) == (
        f"{folder}: its weights do not fit its config.json: 1 tensors are missing, such as "
        "'encoder.layers.1.layer_norm.weight'; copy the whole model again, all files from one place"
    )


def test_what_only_training_or_another_part_needs_may_be_missing(own_copy: Copies, noise: Noise) -> None:
    for family, needless in (("wavlm", "masked_spec_embed"), ("whisper", "decoder."), ("clap", "text_model.")):
        folder = own_copy(family)
        windows = noise(2, extractor(folder).consumes.sample_rate)
        before = extractor(folder).embed(windows)
        tensors = load_file(folder / "model.safetensors")
        kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(needless)}
        assert len(kept) < len(tensors)
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        np.testing.assert_array_equal(extractor(folder).embed(windows), before)


def test_weights_of_another_size_do_not_pass(own_copy: Copies, noise: Noise) -> None:
    folder = own_copy("wavlm")
    edit(folder / "config.json", intermediate_size=24)
    assert told(WeightError, lambda: extractor(folder).embed(noise(1, 16000))) == (
        f"{folder}: its weights do not fit its config.json: "
        "'encoder.layers.0.feed_forward.intermediate_dense.bias' has shape (32,), expected (24,); "
        "copy the whole model again, all files from one place"
    )


def test_weights_of_another_model_do_not_pass(own_copy: Copies, noise: Noise) -> None:
    folder = own_copy("ast")
    (folder / "model.safetensors").write_bytes((own_copy("whisper") / "model.safetensors").read_bytes())
    assert re.search(
        r"do not fit its config\.json: \d\d tensors are missing",
        told(WeightError, lambda: extractor(folder).embed(noise(1, 16000))),
    )


@pytest.mark.parametrize("keep", [0, 5, 2000])
def test_cut_off_weights(keep: int, own_copy: Copies, noise: Noise) -> None:
    folder = own_copy("wavlm")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    text = told(WeightError, lambda: extractor(folder).embed(noise(1, 16000)))
    assert text.startswith(f"{folder}: transformers {transformers.__version__} cannot load it (")


def test_an_unknown_type(own_copy: Copies, noise: Noise) -> None:
    folder = own_copy("wavlm")
    edit(folder / "config.json", model_type="beats9")
    assert told(ConfigError, lambda: extractor(folder).embed(noise(1, 16000))) == (
        f"{folder}: transformers {transformers.__version__} has no model type 'beats9'; "
        "pip install --upgrade transformers"
    )


def test_shards_are_all_read_and_all_hashed(tmp_path: Path, own_copy: Copies, noise: Noise) -> None:
    whole = own_copy("wavlm")
    transformers.WavLMModel.from_pretrained(whole).save_pretrained(tmp_path / "sharded", max_shard_size="10KB")
    (tmp_path / "sharded" / "preprocessor_config.json").write_bytes((whole / "preprocessor_config.json").read_bytes())
    shards = sorted(path.name for path in (tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 2
    made = extractor(tmp_path / "sharded")
    assert made.weight_hashes().keys() == {*shards, "config.json", "preprocessor_config.json"}
    np.testing.assert_array_equal(made.embed(noise(2, 16000)), extractor(whole).embed(noise(2, 16000)))
    (tmp_path / "sharded" / shards[1]).unlink()
    assert told(WeightError, lambda: extractor(tmp_path / "sharded").weight_hashes()) == (
        f"{tmp_path / 'sharded'}: model.safetensors.index.json names the file {shards[1]!r}, which is not there; "
        "copy it again"
    )


def test_an_index_cannot_name_files_elsewhere(own_copy: Copies) -> None:
    folder = own_copy("wavlm")
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../outside.safetensors"}}')
    assert "names the file '../outside.safetensors', which is not there" in told(
        WeightError, lambda: extractor(folder).weight_hashes()
    )


def test_hashes_follow_the_files(own_copy: Copies) -> None:
    import hashlib

    folder = own_copy("wavlm")
    before = extractor(folder).weight_hashes()
    assert before["model.safetensors"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    edit(folder / "preprocessor_config.json", do_normalize=False)  # it changes the embeddings as weights would
    after = extractor(folder).weight_hashes()
    assert {name for name in before if before[name] != after[name]} == {"preprocessor_config.json"}


def test_a_folder_needs_no_network(own_copy: Copies, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for family in ("ast", "clap", "wavlm", "whisper"):
        made = extractor(own_copy(family))
        assert made.embed(noise(1, made.consumes.sample_rate)).shape == (1, 16)
    with pytest.raises((AssertionError, WeightError)):
        _ = extractor("some/model").consumes
