"""A plugin that does at import what it should not."""

from asd_registry import ComponentSpec, hookimpl

print("hello from a plugin")


@hookimpl
def asd_components():
    target = "broken_components:SoundDetector"
    return [ComponentSpec(kind="detector", name="of-noisy", target=target, summary="A test's", licence="MIT")]
