"""asd's switch for the network, handed to Hugging Face's libraries, which have switches of their own."""

from __future__ import annotations

import os

from asd.plugin import is_offline

_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_OWN = {name: os.environ.get(name) for name in _SWITCHES}
"""What the user chose for these libraries."""


def follow_offline() -> None:
    """Forbid Hugging Face's libraries the network where ``ASD_OFFLINE`` does, and reports of use everywhere.

    They read their switches once, when they are imported; this holds before that and after it.
    """
    offline = is_offline()
    for name in _SWITCHES:
        if offline:
            os.environ[name] = "1"
        elif (own := _OWN[name]) is not None:
            os.environ[name] = own
        else:
            os.environ.pop(name, None)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True
    constants.HF_HUB_OFFLINE = offline or any(
        (own or "").upper() in ("1", "ON", "YES", "TRUE") for own in _OWN.values()
    )
