"""A plugin that does at import what it should not."""

import numpy  # noqa: F401  # that is its mistake

from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components():
    target = "broken_components:SoundDetector"
    return [ComponentSpec(kind="detector", name="of-heavy", target=target, summary="A test's", licence="MIT")]
