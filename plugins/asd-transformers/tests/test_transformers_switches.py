"""asd's switch for the network reaches Hugging Face's libraries."""

from __future__ import annotations

import os
from pathlib import Path

import huggingface_hub
import pytest

from asd.errors import WeightError
from asd.plugin import create
from asd_transformers.switches import follow_offline


@pytest.fixture(autouse=True)
def _own_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("asd_transformers.switches._OWN", {"HF_HUB_OFFLINE": None, "TRANSFORMERS_OFFLINE": None})
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", False)


def test_the_hub_is_not_asked_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("asks for an address"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("connects"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("ASD_OFFLINE", "1")
    extractor = create("extractor", "huggingface", {"model": "owner/name"})
    with pytest.raises(WeightError, match="the network is forbidden"):
        _ = extractor.consumes
    assert huggingface_hub.is_offline_mode()
    with pytest.raises(huggingface_hub.errors.OfflineModeIsEnabled):  # whatever else asks
        huggingface_hub.model_info("owner/name")
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"  # for processes of theirs


def test_the_switch_is_followed_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    for offline in ("1", "0", "1"):
        monkeypatch.setenv("ASD_OFFLINE", offline)
        follow_offline()
        assert huggingface_hub.is_offline_mode() == (offline == "1")
        assert os.environ.get("HF_HUB_OFFLINE", "") == ("1" if offline == "1" else "")


def test_the_users_own_switch_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd_transformers.switches._OWN", {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": None})
    monkeypatch.delenv("ASD_OFFLINE", raising=False)
    follow_offline()
    assert huggingface_hub.is_offline_mode()


def test_reports_of_use_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    follow_offline()
    assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
