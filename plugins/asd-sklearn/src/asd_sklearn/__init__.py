"""Anomaly detectors fitted by scikit-learn and scored by NumPy alone."""
