"""From clips to verdicts: configuration, pipeline, embeddings, training, calibration, model, measures."""
