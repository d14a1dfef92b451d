"""A plugin that does at import what it should not."""

import time

from asd_registry import ComponentSpec, hookimpl

time.sleep(1.2)


@hookimpl
def asd_components():
    target = "broken_components:SoundDetector"
    return [ComponentSpec(kind="detector", name="of-slow", target=target, summary="A test's", licence="MIT")]
