"""The installed command with a model from a folder, from the hub (a local server) and from its cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

ASD = Path(os.environ["ASD_COMMAND"])
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHEAP = ("--detector", "gmm", "--detector.n_components", "2", "--folds", "2", "--device", "cpu")
Copies = Callable[[str], Path]


class Hub(ThreadingHTTPServer):
    """The part of the hub that huggingface_hub asks for files: ``/owner/name/resolve/revision/file``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.models: dict[str, Path] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.wfile.write(self._answer())

    def _answer(self) -> bytes:
        self.server.asked.append(self.path)
        name, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        if name not in self.server.models:
            return self._missing("RepoNotFound")
        if revision not in ("main", COMMIT):
            return self._missing("RevisionNotFound")
        path = self.server.models[name] / file
        if not path.is_file():
            return self._missing("EntryNotFound")
        content = path.read_bytes()
        self._head(200, len(content), ETag=f'"{hashlib.sha256(content).hexdigest()}"')
        return content

    def _missing(self, code: str) -> bytes:
        self._head(404, 0, **{"X-Error-Code": code})
        return b""

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the caches of the hub and of asd out of the user's folders; return the hub's."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hf"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    time = np.arange(24000) / 16000
    for i in range(6):
        hum = 0.1 * np.sin(2 * np.pi * 50 * time) + np.random.default_rng(i).normal(0, 0.01, len(time))
        soundfile.write(folder / f"{i}.wav", hum, 16000)
    return folder


def asd(*arguments: str | Path, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [ASD, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def error(*arguments: str | Path, **environment: str) -> str:
    done = asd(*arguments, code=2, **environment)
    assert done.stderr.count("asd: error: ") == 1, done.stderr
    return done.stderr.partition("asd: error: ")[2].rstrip("\n")


def ask(*questions: tuple[str, str | None, bool], endpoint: str) -> list[str]:
    """Ask for the rate of (model, revision), offline or not, all in one process; return what a user would read."""
    script = (
        "import os, time\n"
        "time.sleep = lambda seconds: None\n"  # huggingface_hub tries again for 23 s
        "from asd.errors import AsdError\nfrom asd.plugin import create\n"
        f"for model, revision, offline in {list(questions)!r}:\n"
        "    os.environ['ASD_OFFLINE'] = str(int(offline))\n"
        "    try:\n"
        "        print(create('extractor', 'huggingface', dict(model=model, revision=revision)).consumes.sample_rate)\n"
        "    except AsdError as error:\n"
        "        print(error)"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    environment = {**os.environ, "HF_ENDPOINT": endpoint}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.slow
def test_fit_and_score_from_a_folder(own_copy: Copies, sounds: Path, tmp_path: Path, home: Path) -> None:
    folder, model = own_copy("ast"), tmp_path / "m.asd"
    done = asd(
        "fit",
        sounds,
        "-o",
        model,
        "--extractor",
        "huggingface",
        "--extractor.model",
        folder,
        "--extractor.layer",
        "1,-1",
        "--offline",
        *CHEAP,
    )
    line = " ".join(done.stdout.split())
    assert re.search(r"Pipeline: waveform → huggingface \(.*layer 1,-1.*\) → gmm", line)
    assert "warning" not in done.stderr.lower()
    result = json.loads(asd("score", model, sounds, "--json", "--offline", "--false-alarms-per-hour", "400").stdout)
    assert len(result["clips"]) == 6
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("gelu", "relu"))
    assert "the model was fitted with weights config.json" in error("score", model, sounds, "--offline")
    (folder / "config.json").unlink()
    assert "holds no config.json" in error("score", model, sounds, "--offline")


@pytest.mark.slow
def test_fit_from_the_hub_then_score_from_its_cache(
    hub: Hub, own_copy: Copies, sounds: Path, tmp_path: Path, home: Path
) -> None:
    hub.models["tiny/wavlm"] = own_copy("wavlm")
    (hub.models["tiny/wavlm"] / "pytorch_model.bin").write_bytes(b"never fetched")
    model = tmp_path / "m.asd"
    arguments = ("--extractor", "huggingface", "--extractor.model", "tiny/wavlm", *CHEAP)
    asd("fit", sounds, "-o", model, *arguments, HF_ENDPOINT=hub.address)
    assert any(path.endswith(f"/resolve/{COMMIT}/model.safetensors") for path in hub.asked)
    assert not any(path.endswith((".bin", ".py")) for path in hub.asked)
    hub.asked.clear()
    asd("score", model, sounds, "--offline", "--false-alarms-per-hour", "400", HF_ENDPOINT=hub.address)
    assert hub.asked == []
    (next(home.rglob("snapshots")) / COMMIT / "model.safetensors").unlink()
    assert "tiny/wavlm: has no weights, expected model.safetensors" in error(
        "score", model, sounds, "--offline", HF_ENDPOINT=hub.address
    )


def test_what_the_hub_can_refuse(hub: Hub, own_copy: Copies, home: Path) -> None:
    hub.models["tiny/wavlm"] = own_copy("wavlm")
    answers = ask(
        ("tiny/wavlm", None, True),
        ("tiny/wawlm", None, False),
        ("tiny/wavlm", "v9", False),
        ("tiny/wavlm", COMMIT, False),
        ("tiny/wavlm", COMMIT, True),
        endpoint=hub.address,
    )
    assert answers == [
        f"tiny/wavlm is no folder here and not in the cache {home / 'hub'}, and the network is forbidden (ASD_OFFLINE "
        "or --offline): fetch it where there is a network ('hf download tiny/wavlm --local-dir FOLDER'), copy FOLDER "
        "here and give its path",
        "tiny/wawlm is no folder here, and the hub has no such model (or it is private: 'hf auth login'); check the "
        "spelling, it is owner/name",
        "tiny/wavlm has no revision 'v9' on the hub; give a branch, a tag or a commit of it",
        "16000",
        "16000",
    ]
    assert not any("safetensors" in path for path in hub.asked)


def test_without_a_network_the_cache_serves(
    hub: Hub, own_copy: Copies, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.models["tiny/wavlm"] = own_copy("wavlm")
    assert ask(("tiny/wavlm", None, False), endpoint=hub.address) == ["16000"]
    nowhere = "http://127.0.0.1:9"
    cached, unknown = ask(("tiny/wavlm", None, False), ("tiny/other", None, False), endpoint=nowhere)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the user's own switch, where there is a hub
    kept, forbidden = ask(("tiny/wavlm", None, False), ("tiny/other", None, False), endpoint=hub.address)
    assert cached == kept == "16000"
    assert "and the network is forbidden (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE): fetch it" in forbidden
    assert unknown.startswith(
        f"tiny/other is no folder here and not in the cache {home / 'hub'}, and the hub cannot be reached: fetch it"
    )


HUM = """
from pathlib import Path
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
import torch

Path({marker!r}).touch()


class HumConfig(PretrainedConfig):
    model_type = "hum"


class HumModel(PreTrainedModel):
    config_class = HumConfig

    def __init__(self, config):
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.ones(4))
        self.post_init()

    def forward(self, input_values, output_hidden_states=False):
        frames = input_values.unfold(1, 4, 4) * self.scale
        return BaseModelOutput(last_hidden_state=frames, hidden_states=(frames, frames.abs()))
"""


def hum_folder(folder: Path, marker: Path, source: Path) -> Path:
    """Write a model that brings its own code; running it leaves a mark."""
    from safetensors.numpy import save_file

    folder.mkdir()
    (folder / "hum.py").write_text(HUM.format(marker=str(marker)))
    auto_map = {"AutoConfig": "hum.HumConfig", "AutoModel": "hum.HumModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "hum", "auto_map": auto_map}))
    (folder / "preprocessor_config.json").write_bytes((source / "preprocessor_config.json").read_bytes())
    save_file({"scale": np.arange(4, dtype=np.float32)}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.slow
def test_code_of_the_model_runs_only_with_the_permission_of_who_runs_it(
    own_copy: Copies, sounds: Path, tmp_path: Path, home: Path
) -> None:
    marker, model = tmp_path / "it-ran", tmp_path / "m.asd"
    folder = hum_folder(tmp_path / "hum", marker, own_copy("wavlm"))
    fit = ("fit", sounds, "-o", model, "--extractor", "huggingface", "--extractor.model", folder, *CHEAP)
    assert error(*fit) == (
        f"{folder} asks to run its own code (hum.HumConfig, hum.HumModel); read that code, and only if you trust it, "
        "add --extractor.trust_remote_code true"
    )
    assert not marker.exists()
    asd(*fit, "--extractor.trust_remote_code", "true", ASD_SETTINGS=str(tmp_path / "who-fitted"))
    assert marker.exists()
    marker.unlink()
    score = ("score", model, sounds, "--false-alarms-per-hour", "400")
    told = error(*score)
    assert told.startswith(f"{model}: its extractor asd-transformers:huggingface asks for model = '")
    assert "trust_remote_code = True; for a model file nothing is fetched" in told
    assert not marker.exists()
    asd(*score, ASD_SETTINGS=str(tmp_path / "who-fitted"))
    assert marker.exists()
    marker.unlink()
    asd(*score, "--trust")
    assert marker.exists()
    marker.unlink()
    (folder / "hum.py").write_text((folder / "hum.py").read_text() + "\n# changed since\n")
    assert "the model was fitted with weights hum.py" in error(*score)
    assert not marker.exists()


def test_code_of_other_repositories_and_kernels_are_refused(own_copy: Copies) -> None:
    from asd.command import create
    from asd.errors import ConfigError

    folder = own_copy("wavlm")
    plain = json.loads((folder / "config.json").read_text())
    for wish, named in (
        ({"auto_map": {"AutoModel": "evil/net--code.Net"}}, "evil/net--code.Net"),
        ({"audio_config": {"attn_implementation": "evil/kernel"}}, "evil/kernel"),
    ):
        (folder / "config.json").write_text(json.dumps({**plain, **wish}))
        with pytest.raises(ConfigError, match=rf"asks to run its own code \({named}\); read that code"):
            _ = create("extractor", "huggingface", {"model": str(folder)}).consumes
        with pytest.raises(ConfigError, match=rf"fetches code from another repository \({named}\)"):
            _ = create("extractor", "huggingface", {"model": str(folder), "trust_remote_code": True}).consumes
