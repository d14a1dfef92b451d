"""Where sound comes from: components of the kind ``source``."""
