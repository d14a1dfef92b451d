"""What is kept of an alarm explains it, in words and in a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.plugin import Block
from asd_listen.evidence import Evidence, EvidenceSettings
from asd_listen.explaining import explainer
from asd_listen.history import History
from asd_listen.settings import settings_from

RATE = 16_000


def sound(seed: int, seconds: float, fault: tuple[float, float] = (0, 0)) -> Any:
    """Return a hum with noise, and a whistle at 3 kHz between two times."""
    time = np.arange(int(seconds * RATE)) / RATE
    hum = 0.1 * np.sin(2 * np.pi * 120 * time) + 0.02 * np.random.default_rng(seed).standard_normal(len(time))
    whistle = 0.1 * np.sin(2 * np.pi * 3000 * time) * ((time >= fault[0]) & (time < fault[1]))
    return (hum + whistle).astype(np.float32)


@pytest.mark.slow
def test_an_alarm_is_explained(tmp_path: Path, said: Any) -> None:
    pytest.importorskip("asd_pages")
    (tmp_path / "healthy").mkdir()
    for number in range(12):
        soundfile.write(tmp_path / "healthy" / f"{number}.wav", sound(number, 4), RATE)
    model = tmp_path / "pump.asd"
    asd.fit(tmp_path / "healthy", extractor="mel-statistics", detector="knn").save(model)
    settings = settings_from({"model": str(model), "source": [{"kind": "pcm", "name": "pump"}]})
    with History.open(tmp_path) as history:
        evidence = Evidence(
            tmp_path / "evidence", EvidenceSettings(before=6, after=2), history, explainer(settings, asd.load)
        )
        samples = sound(99, 12, fault=(9, 10))
        for start in range(0, 12):
            part = samples[start * RATE : (start + 1) * RATE, None]
            evidence.sound("pump", Block(part, RATE, said.noon + start))
            if start == 9:
                evidence.event(said.event(9))
        evidence.close()
        history.commit()
        (row,) = history.rows("evidence")
    file = tmp_path / "evidence" / row["file"]
    assert "failed" not in row["data"], row["data"]
    best = row["data"]["findings"][0]
    assert best["low"] <= 3000 <= best["high"]
    assert "louder" in row["data"]["text"]
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(file.with_suffix(".json").read_text())["explanation"]["sentences"]
