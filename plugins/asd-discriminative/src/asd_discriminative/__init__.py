"""Detectors that learn to tell classes of healthy sound apart."""
