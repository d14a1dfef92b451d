"""All that a benchmark may use: embed clips through the cache, learn, score, judge, measure; generated sound.

`asd.fit` and `asd.score` do all steps at once; here is each step by itself, for comparing many pipelines.
"""

from __future__ import annotations

from asd.contract.create import contradictions, create, load_class, parameters
from asd.contract.installed import registry
from asd.contract.isolation import isolated
from asd.contract.parameters import REQUIRED, convert_all, parameters_of
from asd.contract.processes import end_process, start_python
from asd.detection.apart import Decoders
from asd.detection.calibration import Calibration
from asd.detection.config import DEFAULT_DETECTOR, Branch, Choice, Config, ResolvedConfig
from asd.detection.cutters import Cutters
from asd.detection.cutting import clips_to_judge
from asd.detection.describe import describe_pipeline
from asd.detection.embeddings import EmbeddingCache
from asd.detection.evaluation import Evaluation, evaluate, measure
from asd.detection.fusion import LARGEST as LARGEST_DEVIATION
from asd.detection.identity import content_of, identity_of, runtime_identity
from asd.detection.joint import CutClip, cut_clip, judge_together, share_networks
from asd.detection.members import Member, new_detector, new_transform
from asd.detection.memory import peak_memory, reset_peak
from asd.detection.metrics import (
    auc,
    bootstrap_interval,
    partial_auc,
    percentile_interval,
    resampled_auc,
    roc_curve,
)
from asd.detection.model import Model
from asd.detection.modelfile import read as read_model_file
from asd.detection.modelfile import write as write_model_file
from asd.detection.monitor_copy import WatchedClip, copy_of_monitor, watched_clips
from asd.detection.piece import Shared
from asd.detection.pipeline import ClipFeatures, Cost, Failure, Pipeline, embed_all
from asd.detection.pooling import pool_embeddings, pool_scores
from asd.detection.sent import compute_as, decided_runtimes, needs_of, require_plugins
from asd.detection.training import FittedBranch, clip_score, learn, learn_branches
from asd.detection.transform import FeatureTransform
from asd.detection.verdict import BranchVerdict, Verdict
from asd.detection.work import current_engine, each, over_clips, using_engine
from asd.files.digest import duplicates
from asd.progress import rendered_by, track
from asd.records import Clip
from asd.sound.finding import find_clips
from asd.sound.machines import ANOMALY_KINDS, Anomaly, AnomalyKind, Machine, Sound, spoil, write_recordings
from asd.sound.reading import ClipReader, read
from asd.sound.times import TimedClip, in_time_order

__all__ = [
    "ANOMALY_KINDS",
    "DEFAULT_DETECTOR",
    "LARGEST_DEVIATION",
    "REQUIRED",
    "Anomaly",
    "AnomalyKind",
    "Branch",
    "BranchVerdict",
    "Calibration",
    "Choice",
    "Clip",
    "ClipFeatures",
    "ClipReader",
    "Config",
    "Cost",
    "CutClip",
    "Cutters",
    "Decoders",
    "EmbeddingCache",
    "Evaluation",
    "Failure",
    "FeatureTransform",
    "FittedBranch",
    "Machine",
    "Member",
    "Model",
    "Pipeline",
    "ResolvedConfig",
    "Shared",
    "Sound",
    "TimedClip",
    "Verdict",
    "WatchedClip",
    "auc",
    "bootstrap_interval",
    "clip_score",
    "clips_to_judge",
    "compute_as",
    "content_of",
    "contradictions",
    "convert_all",
    "copy_of_monitor",
    "create",
    "current_engine",
    "cut_clip",
    "decided_runtimes",
    "describe_pipeline",
    "duplicates",
    "each",
    "embed_all",
    "end_process",
    "evaluate",
    "find_clips",
    "identity_of",
    "in_time_order",
    "isolated",
    "judge_together",
    "learn",
    "learn_branches",
    "load_class",
    "measure",
    "needs_of",
    "new_detector",
    "new_transform",
    "over_clips",
    "parameters",
    "parameters_of",
    "partial_auc",
    "peak_memory",
    "percentile_interval",
    "pool_embeddings",
    "pool_scores",
    "read",
    "read_model_file",
    "registry",
    "rendered_by",
    "require_plugins",
    "resampled_auc",
    "reset_peak",
    "roc_curve",
    "runtime_identity",
    "share_networks",
    "spoil",
    "start_python",
    "track",
    "using_engine",
    "watched_clips",
    "write_model_file",
    "write_recordings",
]
