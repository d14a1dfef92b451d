"""The hooks that a plugin may implement (pluggy project name ``asd``)."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from asd_registry.specs import CommandSpec, ComponentSpec, TrackerSpec

hookspec = pluggy.HookspecMarker("asd")
hookimpl = pluggy.HookimplMarker("asd")


@hookspec
def asd_components() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the components that the plugin offers, as data; called at every listing, so keep it light."""


@hookspec
def asd_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the commands that the plugin adds to ``asd``, as data."""


@hookspec
def asd_trackers() -> Iterable[TrackerSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Return the experiment trackers to which benchmarks can hand their results, as data."""
