"""Recordings: where they are, how they are read, what a spectrogram of them is, and generated ones."""
