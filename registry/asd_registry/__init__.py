"""The plugin registry of asd: hook specifications, component specs, discovery and look-up.

A complete plugin is one light module, named by an entry point of the group ``asd.plugins``::

    # pyproject.toml
    [project.entry-points."asd.plugins"]
    loudness = "asd_loudness.plugin"

    # asd_loudness/plugin.py
    from asd_registry import ComponentSpec, hookimpl

    @hookimpl
    def asd_components():
        yield ComponentSpec(kind="detector", name="loudness", summary="Distance from the usual level",
                            target="asd_loudness.detector:Loudness", licence="MIT")
"""

from asd_registry.discovery import Component, Registry
from asd_registry.entries import Plugin
from asd_registry.errors import AsdError, PluginError
from asd_registry.hookspecs import hookimpl, hookspec
from asd_registry.renamed import RenamedWarning
from asd_registry.specs import (
    API_VERSION,
    ENGINES,
    KINDS,
    PIPELINE_KINDS,
    CommandSpec,
    ComponentSpec,
    Engine,
    Kind,
    TrackerSpec,
    WeightFile,
)
from asd_registry.text import did_you_mean

__all__ = [
    "API_VERSION",
    "ENGINES",
    "KINDS",
    "PIPELINE_KINDS",
    "AsdError",
    "CommandSpec",
    "Component",
    "ComponentSpec",
    "Engine",
    "Kind",
    "Plugin",
    "PluginError",
    "Registry",
    "RenamedWarning",
    "TrackerSpec",
    "WeightFile",
    "did_you_mean",
    "hookimpl",
    "hookspec",
]
