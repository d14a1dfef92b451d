"""All that a component may use: interfaces, records, reading sound, mel spectrograms, weight files, progress.

A plugin's modules import from here, from `asd.command` (commands), `asd.experiment` (benchmarks), `asd.errors` and
`asd_registry`; everything else of `asd` may move without notice.
"""

from __future__ import annotations

from asd.contract.checked import CheckedDetector, CheckedExtractor
from asd.contract.checks import Features, number, one_of, whole_number
from asd.contract.create import create
from asd.contract.graph import OnnxGraph
from asd.contract.installed import registry
from asd.contract.interfaces import (
    Component,
    Dataset,
    Detector,
    Extractor,
    Frontend,
    Reason,
    Runtime,
    Sink,
    Source,
    State,
    WorkEngine,
    fit_rows,
)
from asd.contract.outlier import OutlierDetector
from asd.contract.parameters import parameters_of
from asd.files.address import manifest_path, mask_in, shared_folder
from asd.files.database import open_database
from asd.files.digest import digest_of
from asd.files.fetch import TransferError, fetch, is_offline, require_space, writing
from asd.files.folders import cache_folder
from asd.files.remote import as_path, has_address
from asd.files.resolve import check_weights, resolve_weights
from asd.files.weights import locate, locate_on_first_use
from asd.files.writing import check_address
from asd.progress import track
from asd.records import (
    Audio,
    Block,
    Channel,
    Clip,
    Event,
    FeatureInfo,
    Float32,
    Float64,
    Int64,
    Recording,
    RemoteFile,
    Representation,
    Rows,
    Severity,
    Windows,
)
from asd.sound.finding import AUDIO_SUFFIXES
from asd.sound.manifest import ANOMALOUS_LABELS, NORMAL_LABELS
from asd.sound.mel import (
    filtered_frames,
    filtered_spectrogram,
    hz_to_mel,
    mel_filter_bank,
    mel_spectrogram,
    mel_to_hz,
    pcen,
    power_spectrogram,
    power_to_db,
)
from asd.sound.reading import ClipReader, RecordingFacts, duration_of, recording_facts
from asd.sound.times import time_from, time_in_name

__all__ = [
    "ANOMALOUS_LABELS",
    "AUDIO_SUFFIXES",
    "NORMAL_LABELS",
    "Audio",
    "Block",
    "Channel",
    "CheckedDetector",
    "CheckedExtractor",
    "Clip",
    "ClipReader",
    "Component",
    "Dataset",
    "Detector",
    "Event",
    "Extractor",
    "FeatureInfo",
    "Features",
    "Float32",
    "Float64",
    "Frontend",
    "Int64",
    "OnnxGraph",
    "OutlierDetector",
    "Reason",
    "Recording",
    "RecordingFacts",
    "RemoteFile",
    "Representation",
    "Rows",
    "Runtime",
    "Severity",
    "Sink",
    "Source",
    "State",
    "TransferError",
    "Windows",
    "WorkEngine",
    "as_path",
    "cache_folder",
    "check_address",
    "check_weights",
    "create",
    "digest_of",
    "duration_of",
    "fetch",
    "filtered_frames",
    "filtered_spectrogram",
    "fit_rows",
    "has_address",
    "hz_to_mel",
    "is_offline",
    "locate",
    "locate_on_first_use",
    "manifest_path",
    "mask_in",
    "mel_filter_bank",
    "mel_spectrogram",
    "mel_to_hz",
    "number",
    "one_of",
    "open_database",
    "parameters_of",
    "pcen",
    "power_spectrogram",
    "power_to_db",
    "recording_facts",
    "registry",
    "require_space",
    "resolve_weights",
    "shared_folder",
    "time_from",
    "time_in_name",
    "track",
    "whole_number",
    "writing",
]
