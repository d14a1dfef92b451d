"""A plugin module, and the module of a target, of version 0.1's import paths."""

from asd.interfaces import Detector  # noqa: F401  # it has moved
