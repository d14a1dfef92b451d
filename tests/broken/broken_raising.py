"""A plugin that does at import what it should not."""

raise RuntimeError("no licence key")
