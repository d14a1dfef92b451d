"""From files to embeddings with resnet18, as ratios measured in one run.

1. Throughput from files on disk (decode, mel, image, network) against the bare network fed ready tensors in the same
   precision, thread count and batch size. To hold: at least 0.90. Where the rest goes is printed.
2. `auto` against the straightforward pipeline: librosa mel, matplotlib colours, torchvision in NCHW float32, one clip
   at a time. To hold: at least 4 times as fast with bfloat16 hardware, 1.5 elsewhere; embeddings' cosine similarity at
   least 0.999 and the clip scores' rank correlation at least 0.99 against our float32.
3. Peak memory of extraction for 1x and 8x the clips.

The weights are seeded random ones of the true shape (``--weights default`` takes the real ones): speed does not depend
on them. Cosine and rank correlation are also measured with squeezenet1_0-torch's real, embedded weights.

    python tests/benchmarks/bench_extraction.py [--clips FOLDER] [--rounds 5]
"""

from __future__ import annotations

import argparse
import functools
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import in_turns

from asd.contract.create import create
from asd.contract.interfaces import Runtime
from asd.detection.config import Config
from asd.detection.pipeline import ClipFeatures, Pipeline
from asd.detection.transform import FeatureTransform
from asd.records import Clip
from asd.sound.finding import find_clips
from asd.sound.reading import ClipReader, read
from asd_torch import plan

_BATCH = 32  # asd-imagenet's own
SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"


def pipeline(extractor: str, weights: str, precision: Any = "auto") -> Pipeline:
    """Return the pipeline mel-image → extractor."""
    options = {"name": extractor, **({"weights": weights} if weights != "embedded" else {})}
    return Pipeline(Config.from_mapping({"extractor": options}), Runtime(precision=precision))


def embeddings(chain: Pipeline, clips: list[Clip], workers: int = 1) -> list[np.ndarray]:
    """Return each clip's embeddings."""
    return [f.values for f in chain.embed_all(clips, workers=workers) if isinstance(f, ClipFeatures)]


def straightforward(clips: list[Clip], network: torch.nn.Module) -> list[np.ndarray]:
    """Do what one would write first: librosa, matplotlib, torchvision, float32, one clip at a time."""
    import librosa
    import soundfile
    from matplotlib import colormaps

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    results = []
    for clip in clips:
        signal, rate = soundfile.read(clip.path, dtype="float32")
        power = librosa.feature.melspectrogram(y=signal, sr=rate, n_fft=1024, hop_length=256, n_mels=64, center=False)
        scaled = np.clip((librosa.power_to_db(power, amin=1e-10, top_db=None) + 60) / 80, 0, 1)[::-1]
        starts = range(0, scaled.shape[1] - 63, 32)
        patches = [colormaps["viridis"](scaled[:, start : start + 64])[..., :3] for start in starts]
        images = torch.tensor(np.stack(patches), dtype=torch.float32)
        images = ((images - mean) / std).permute(0, 3, 1, 2).contiguous()
        images = torch.nn.functional.interpolate(images, size=(224, 224), mode="bilinear", align_corners=False)
        with torch.inference_mode():
            results.append(network(images).numpy())
    return results


def bare_network(chain: Pipeline, clips: list[Clip]) -> Callable[[], None]:
    """Return a call that feeds the prepared network ready tensors of all windows, clip by clip."""
    chosen = plan(chain.runtime)
    network = chain.extractor._shared  # type: ignore[attr-defined]  # what asd-imagenet feeds its batches to
    frontend = chain.frontend
    ready = []
    for clip in clips:
        values = torch.from_numpy(np.ascontiguousarray(frontend(read(clip, sample_rate=frontend.sample_rate)).values))
        ready.append(values.to(chosen.device, chosen.dtype, memory_format=torch.channels_last))

    def feed() -> None:
        with torch.inference_mode():
            for tensor in ready:
                for batch in tensor.split(_BATCH):
                    network(batch)

    return feed


def cosine(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Return the lowest cosine similarity between two sets of embeddings, window by window."""
    x, y = np.concatenate(a), np.concatenate(b)
    return float(((x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)).min())


def clip_scores(embedded: list[np.ndarray]) -> list[float]:
    """Return the scores of the later half of the clips by the default detector, fitted on the earlier half."""
    half = len(embedded) // 2
    transform = FeatureTransform(standardise=True, deviation_floor=1.0, pca=0.98).fit(np.concatenate(embedded[:half]))
    gmm = create("detector", "gmm", {"n_components": 20}).fit(transform.transform(np.concatenate(embedded[:half])))
    return [float(gmm.score(transform.transform(clip)).mean()) for clip in embedded[half:]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", default=str(SAMPLES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", default="random")
    arguments = parser.parse_args()
    clips = find_clips([arguments.clips])[:29]
    windows = None

    chain = pipeline("resnet18", arguments.weights)
    chosen = plan(chain.runtime)
    print(f"{len(clips)} clips, {torch.get_num_threads()} threads, {chosen.dtype} ({chosen.reason})")
    windows = sum(len(values) for values in embeddings(chain, clips))  # also warms up
    feed = bare_network(chain, clips)
    reader = functools.partial(ClipReader, sample_rate=chain.sample_rate)
    feed()
    times = in_turns(
        arguments.rounds,
        whole=lambda: embeddings(chain, clips),
        bare=feed,
        decoding=lambda: [read(c, sample_rate=chain.sample_rate) for c in clips],
        frontend=lambda: [list(chain.embedder(0).windows(reader(c))) for c in clips],
    )
    for name, value in times.items():
        print(f"  {name:<9} {1000 * value / len(clips):7.2f} ms a clip ({windows / value:7.1f} windows a second)")
    print(f"files → embeddings / bare network = {times['bare'] / times['whole']:.3f} (to hold: at least 0.90)")

    from scipy.stats import spearmanr
    from torchvision import models

    plain = models.resnet18(weights=None).eval()
    plain.fc = torch.nn.Identity()
    straightforward(clips[:1], plain)
    times = in_turns(
        arguments.rounds,
        auto=lambda: embeddings(chain, clips),
        straightforward=lambda: straightforward(clips, plain),
    )
    print(
        f"auto / straightforward float32 = {times['straightforward'] / times['auto']:.2f} (to hold: at least 4, or 1.5)"
    )

    for name, weights in (("resnet18", arguments.weights), ("squeezenet1_0-torch", "embedded")):
        auto, exact = (embeddings(pipeline(name, weights, precision), clips) for precision in ("auto", "fp32"))
        rank = spearmanr(clip_scores(auto), clip_scores(exact)).statistic
        print(f"{name}: lowest cosine {cosine(auto, exact):.5f} (0.999), rank correlation {rank:.4f} (0.99)")

    peaks = []
    for repeat in (1, 8):
        for result in chain.embed_all(clips * repeat):
            assert isinstance(result, ClipFeatures)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"peak memory: {peaks[0]:.0f} MB with {len(clips)} clips, {peaks[1]:.0f} MB with {8 * len(clips)}")


if __name__ == "__main__":
    main()
