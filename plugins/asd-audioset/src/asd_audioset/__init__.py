"""Networks pretrained on AudioSet as feature extractors for environmental and machine sound."""
