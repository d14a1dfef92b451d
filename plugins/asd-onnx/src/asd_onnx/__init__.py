"""Networks as feature extractors, computed by ONNX Runtime."""
