"""Explanations of the sound that is kept of an alarm, with a picture where asd-pages is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asd
from asd_listen.evidence import Explain
from asd_listen.settings import Settings

_MARKED = 3
"""Places that a picture outlines."""


def explainer(settings: Settings, load: Callable[[Path], Any]) -> Explain:
    """Return what explains a recording, as `asd_listen.evidence.Evidence` takes it.

    Alarms are rare: the model is loaded for each anew, so that it costs no memory meanwhile, and so that the thread
    that judges shares nothing with the one that explains.

    Parameters
    ----------
    settings : Settings
        Which machine has which model.
    load : callable
        Returns the model in a file.
    """
    models = {each.name: Path(each.model or settings.model) for each in settings.source}

    def explain(machine: str, recording: Path, picture: Path) -> Mapping[str, Any]:
        model = load(models[machine])
        try:
            # Said outright, or each alarm's explanation would tell that its recording was cut.
            found = asd.explain(model, recording, segment=model.calibration.clip_seconds)
        finally:
            model.close()
        if importlib.util.find_spec("asd_pages") and importlib.util.find_spec("matplotlib"):
            picture.write_bytes(_picture(recording, found))
        places = [finding.to_dict(found.healthy_clips) for finding in found.findings]
        return {"text": "; ".join(each["text"] for each in places), "sentences": found.sentences(), "findings": places}

    return explain


def _picture(recording: Path, found: Any) -> bytes:
    import soundfile

    from asd_pages.pictures import Box, spectrogram

    samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    boxes = [Box(each.start, each.end, each.low, each.high, str(n + 1)) for n, each in enumerate(found.findings)]
    return spectrogram(samples.T, rate, boxes=boxes[:_MARKED], file_format="png")
