"""Anomalous sound detection: learn what a healthy machine sounds like, tell when it no longer does."""
