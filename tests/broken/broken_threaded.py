"""A plugin that does at import what it should not."""

import threading
import time

from asd_registry import ComponentSpec, hookimpl

threading.Thread(target=time.sleep, args=(600,), name="left-behind", daemon=True).start()


@hookimpl
def asd_components():
    target = "broken_components:SoundDetector"
    return [ComponentSpec(kind="detector", name="of-threaded", target=target, summary="A test's", licence="MIT")]
