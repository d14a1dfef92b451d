"""Judge recordings with model.onnx: needs onnxruntime and soundfile, and soxr for other sample rates."""

import os
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read on import

import onnxruntime  # type: ignore[import-untyped]
import soundfile

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))
about = session.get_modelmeta().custom_metadata_map
rates = {each.name: int(each.name.rpartition("_")[2]) for each in session.get_inputs()}
anomalies = 0
for path in sys.argv[1:]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1) if about["channel"] == "mix" else samples[:, int(about["channel"]) - 1]
    inputs = dict.fromkeys(rates, mono)
    for name in (name for name, wanted in rates.items() if wanted != rate):
        import soxr

        inputs[name] = soxr.resample(mono, rate, rates[name])
    score, p_value = session.run(["score", "p_value"], inputs)
    anomalous = p_value <= float(about["level"])
    anomalies += anomalous
    print(f"{path}: {'ANOMALOUS' if anomalous else 'normal'}, score {score:.4g}, p-value {p_value:.3f}")
sys.exit(1 if anomalies else 0)
