"""Listening day and night with asd, as a library: what other plugins may use, and nothing else of it.

Everything here is imported when it is first used: ``import asd_listen`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asd_listen.conditions import Change as Change
    from asd_listen.conditions import Conditions as Conditions
    from asd_listen.explaining import explainer as explainer
    from asd_listen.kept import Kept as Kept
    from asd_listen.kept import healthy_clips as healthy_clips
    from asd_listen.kept import kept_of as kept_of
    from asd_listen.level_series import LevelSeries as LevelSeries
    from asd_listen.level_series import level_series as level_series
    from asd_listen.levels import LevelMeter as LevelMeter
    from asd_listen.levels import Second as Second
    from asd_listen.listener import Listener as Listener
    from asd_listen.overview import MachineState as MachineState
    from asd_listen.overview import machine_states as machine_states
    from asd_listen.pages import Said as Said
    from asd_listen.pages import event_page as event_page
    from asd_listen.pages import event_with_id as event_with_id
    from asd_listen.pages import events_after as events_after
    from asd_listen.pages import said_of as said_of
    from asd_listen.preview import preview_normal as preview_normal
    from asd_listen.reader import Point as Point
    from asd_listen.reader import Reader as Reader
    from asd_listen.record import ClipWriter as ClipWriter
    from asd_listen.record import Recorder as Recorder
    from asd_listen.remarks import RemarkError as RemarkError
    from asd_listen.remarks import acknowledge as acknowledge
    from asd_listen.remarks import back_up as back_up
    from asd_listen.remarks import clips_of as clips_of
    from asd_listen.remarks import is_listening as is_listening
    from asd_listen.remarks import judge as judge
    from asd_listen.remarks import note as note
    from asd_listen.remarks import remark as remark
    from asd_listen.remarks import unacknowledge as unacknowledge
    from asd_listen.remarks import unjudge as unjudge
    from asd_listen.remarks import withdraw as withdraw
    from asd_listen.schema import HistoryError as HistoryError
    from asd_listen.settings import SettingError as SettingError
    from asd_listen.settings import Settings as Settings
    from asd_listen.settings import SinkSettings as SinkSettings
    from asd_listen.settings import SourceSettings as SourceSettings
    from asd_listen.settings import read_settings as read_settings
    from asd_listen.settings import settings_from as settings_from
    from asd_listen.settings import source_of as source_of

_NAMES = {
    "Change": "conditions",
    "ClipWriter": "record",
    "Conditions": "conditions",
    "HistoryError": "schema",
    "Kept": "kept",
    "LevelMeter": "levels",
    "LevelSeries": "level_series",
    "Listener": "listener",
    "MachineState": "overview",
    "Point": "reader",
    "Reader": "reader",
    "Recorder": "record",
    "RemarkError": "remarks",
    "Said": "pages",
    "Second": "levels",
    "SettingError": "settings",
    "Settings": "settings",
    "SinkSettings": "settings",
    "SourceSettings": "settings",
    "acknowledge": "remarks",
    "back_up": "remarks",
    "clips_of": "remarks",
    "event_page": "pages",
    "event_with_id": "pages",
    "events_after": "pages",
    "explainer": "explaining",
    "healthy_clips": "kept",
    "is_listening": "remarks",
    "judge": "remarks",
    "kept_of": "kept",
    "level_series": "level_series",
    "machine_states": "overview",
    "note": "remarks",
    "preview_normal": "preview",
    "read_settings": "settings",
    "remark": "remarks",
    "said_of": "pages",
    "settings_from": "settings",
    "source_of": "settings",
    "unacknowledge": "remarks",
    "unjudge": "remarks",
    "withdraw": "remarks",
}
"""Module of each public name."""

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _NAMES:
        raise AttributeError(f"asd_listen has no public name {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(importlib.import_module(f"asd_listen.{_NAMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
