"""Image networks pretrained on ImageNet as feature extractors for pictures of spectrograms."""
