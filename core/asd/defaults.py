"""What ``asd fit`` takes by itself; why: docs/decisions/0013-default-by-evidence.md."""

from __future__ import annotations

from asd_registry import Kind

DEFAULTS: dict[Kind, str] = {
    "frontend": "mel-image",  # the default extractor's own
    "extractor": "squeezenet1_0",
    "detector": "pca-residual",
}
DEFAULT_PCA = 0.98  # arXiv:2012.06282; without it, features that hardly vary in training swamp the likelihood
