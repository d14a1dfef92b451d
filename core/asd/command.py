"""All that a command may use: options that commands share, tables and JSON, progress, components by name.

A command of a plugin is a `click.Command` that a `asd_registry.CommandSpec` names.
"""

from __future__ import annotations

from asd.cli.dotted import DottedCommand, given_parameters
from asd.cli.flags import LocalPath, PathOrUrl, json_option, offline_option, strict_option, trust_option, verbose_option
from asd.cli.main import cli, main
from asd.cli.options import runtime_from, runtime_options
from asd.cli.output import emphasised, print_json, print_table, reporting, say
from asd.contract.create import create, described_parameters
from asd.contract.installed import registry
from asd.detection.feedback import clips_were_normal, last_alarm_was_normal
from asd.detection.feedback import undo as undo_feedback
from asd.detection.monitor_copy import copy_of_monitor
from asd.files.results_folder import results_folder
from asd.progress import rendered_by, track

__all__ = [
    "DottedCommand",
    "LocalPath",
    "PathOrUrl",
    "cli",
    "clips_were_normal",
    "copy_of_monitor",
    "create",
    "described_parameters",
    "emphasised",
    "given_parameters",
    "json_option",
    "last_alarm_was_normal",
    "main",
    "offline_option",
    "print_json",
    "print_table",
    "registry",
    "rendered_by",
    "reporting",
    "results_folder",
    "runtime_from",
    "runtime_options",
    "say",
    "strict_option",
    "track",
    "trust_option",
    "undo_feedback",
    "verbose_option",
]
