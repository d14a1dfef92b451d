"""Music taggers and other Essentia models as feature extractors."""
