"""Draw the documentation's pictures from the sample recordings: ``python docs/make/pictures.py``.

The pictures are committed, because a build of the pages should need neither matplotlib nor the recordings.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

os.environ["ASD_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"
FOLDER = ROOT / "docs" / "pictures"
TEAL, RED, GREY = "#00897b", "#c62828", "#607d8b"


def main() -> None:
    """Draw all of them."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"font.size": 9, "svg.hashsalt": "asd", "svg.fonttype": "none"}
    FOLDER.mkdir(exist_ok=True)
    draw_pipeline()
    draw_patches()
    draw_p_value()
    draw_window_scores()
    draw_evidence()
    draw_branches()
    draw_explanation()
    draw_clip_report()
    draw_report()
    draw_notebook()


def draw_pipeline() -> None:
    """Draw from sound to alarm as boxes and arrows."""
    steps = [
        ("recording", "WAV, FLAC, …"),
        ("front end", "windows, such as\nmel images"),
        ("extractor", "embeddings of a\npretrained network"),
        ("detector", "learned what is\nhealthy; scores"),
        ("decision", "p-value, alarm at a\nrate you choose"),
    ]
    figure, axes = _figure(8.6, 1.5)
    axes.set(xlim=(0, 100), ylim=(0, 10))
    axes.axis("off")
    for i, (title, text) in enumerate(steps):
        left, plugin = i * 20.4, 0 < i < 4
        style: dict[str, Any] = {"fc": TEAL if plugin else GREY, "ec": "none", "alpha": 0.92}
        axes.add_patch(_rectangle((left, 1.2), 17.5, 7.6, **style))
        axes.text(left + 8.75, 6.9, title, ha="center", va="center", color="white", weight="bold")
        axes.text(left + 8.75, 3.7, text, ha="center", va="center", color="white", size=8)
        if i:
            arrow = {"arrowstyle": "-|>", "color": GREY, "lw": 1.5}
            axes.annotate("", xy=(left, 5), xytext=(left - 2.9, 5), arrowprops=arrow)
    _save(figure, "pipeline.svg")


def draw_patches() -> None:
    """Draw log-mel spectrograms of a healthy and a faulty clip, with one window outlined."""
    from asd.plugin import Clip
    from asd.sound.mel import mel_spectrogram, power_to_db
    from asd.sound.reading import read

    figure, panels = _figure(8.6, 3.0, columns=2, sharey=True)
    clips = {"healthy": "normal/fan_id_00_normal_01.flac", "faulty": "anomalous/fan_id_00_anomalous_00.flac"}
    for axes, (label, name) in zip(panels, clips.items(), strict=True):
        audio = read(Clip(DATA / "test" / name), sample_rate=16000)
        mel = mel_spectrogram(audio.samples[0], sample_rate=16000, n_fft=1024, hop_length=256, n_mels=64)
        extent = (0.0, mel.shape[1] * 256 / 16000, 0, 64)
        axes.imshow(power_to_db(mel), origin="lower", aspect="auto", extent=extent, vmin=-60, vmax=20, cmap="viridis")
        window = _rectangle((3.0, 0.4), 64 * 256 / 16000, 63.2, fc="none", ec="white", lw=2)
        axes.add_patch(window)
        axes.set(title=f"{label} fan", xlabel="seconds")
    panels[0].set_ylabel("mel band")
    figure.tight_layout()
    _save(figure, "mel-patches.png")


def draw_p_value() -> None:
    """Draw how held-out healthy clips compare with a new clip, each by the detector trained without it."""
    import asd
    from asd.detection.pooling import pool_scores

    model = asd.fit(DATA / "train", extractor="efficientat-mn04")
    verdicts = [v for v in asd.score(model, DATA / "test" / "anomalous") if isinstance(v, asd.Verdict)]
    verdict = min(verdicts, key=lambda v: abs(v.p_value - 0.2))
    values = model.pipeline.embed(verdict.clip).values
    new = np.array([pool_scores(member.score(values), model.config) for member in model.members])
    healthy = model.calibration.scores - new[model.calibration.member]
    above = healthy >= 0
    figure, axes = _figure(8.6, 1.6)
    axes.scatter(healthy[~above], [0] * (~above).sum(), s=60, color=TEAL, label="healthy, held out")
    axes.scatter(healthy[above], [0] * above.sum(), s=60, facecolor="white", edgecolor=TEAL, label="… as high")
    axes.axvline(0, color=RED, label=f"new clip: p = ({above.sum()} + 1) / ({len(healthy)} + 1)")
    axes.set(yticks=[], xlabel="score minus the new clip's, by the same detector", ylim=(-1, 2.5))
    axes.legend(loc="upper left", ncols=3, frameon=False)
    figure.tight_layout()
    _save(figure, "p-value.png")


def draw_window_scores() -> None:
    """Draw a generated machine whose belt squeals for two of ten seconds, and the score of each window below it."""
    import soundfile

    import asd
    from asd.sound.machines import Machine
    from asd.sound.mel import mel_spectrogram, power_to_db

    machine, from_, to = Machine(sample_rate=32000), 4, 6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(20):
            soundfile.write(folder / f"{seed}.wav", machine.record(10.0, seed=seed).audio.samples[0], 32000)
        model = asd.fit(folder, extractor="efficientat-mn04")
        samples = machine.record(10.0, seed=100).audio.samples[0].copy()
        squealing = machine.record(10.0, seed=100, anomaly="belt-squeal").audio.samples[0]
        samples[from_ * 32000 : to * 32000] = squealing[from_ * 32000 : to * 32000]
        faulty = folder / "faulty.wav"
        soundfile.write(faulty, samples, 32000)
        (verdict,) = asd.score(model, faulty)
        assert isinstance(verdict, asd.Verdict)
    mel = mel_spectrogram(samples, sample_rate=32000, n_fft=1024, hop_length=512, n_mels=64)
    figure, (above, below) = _figure(8.6, 3.6, rows=2, sharex=True, height_ratios=(2, 1))
    above.imshow(power_to_db(mel), origin="lower", aspect="auto", extent=(0.0, 10.0, 0, 64), cmap="viridis")
    above.set(ylabel="mel band", title=f"p = {verdict.p_value:.2f}, most unusual at {verdict.peak:.1f} s")
    window = model.pipeline.frontend.window_length / 32000
    below.bar(verdict.window_start + window / 2, verdict.window_scores, width=0.4, color=TEAL)
    below.set(xlabel="seconds", ylabel="window score", xlim=(0, 10))
    for axes in (above, below):
        for edge in (from_, to):
            axes.axvline(edge, color=RED, ls="--")
    figure.tight_layout()
    _save(figure, "window-scores.png")


def draw_evidence() -> None:
    """Draw the evidence of a monitor while faults of several sizes set in, and over a healthy month."""
    figure, (left, right) = _figure(8.6, 2.8, columns=2, sharey=True)
    for shift, colour in zip((1.0, 1.5, 2.0, 3.0), ("#80cbc4", "#26a69a", TEAL, "#004d40"), strict=True):
        scores = np.random.default_rng(11).normal(size=720)
        scores[360:] += shift
        left.plot(np.arange(720) / 6, _evidence(scores), color=colour, label=f"shift {shift:g}")
    left.axvline(60, color=GREY, ls=":")
    left.set(xlabel="minutes of 10 s clips", ylabel="evidence, log₁₀(1 + R)", xlim=(30, 90))
    month = _evidence(np.random.default_rng(3).normal(size=259_200))
    right.plot(np.arange(0, 259_200, 60) / 8640, month.reshape(-1, 60).max(axis=1), color=TEAL, lw=0.5)
    right.set(xlabel="days without a fault")
    for axes in (left, right):
        axes.axhline(np.log10(20 * 259_200 + 1), color=RED, ls="--", label="alarm" if axes is left else None)
    left.legend(loc="upper left", frameon=False)
    figure.tight_layout()
    _save(figure, "evidence.png")


def _evidence(scores: Any) -> Any:
    """Return the evidence of a monitor after each clip of these scores; it is calibrated on 20."""
    from types import SimpleNamespace

    from asd.detection.calibration import Calibration
    from asd.detection.monitor import Monitor
    from asd.records import Clip

    known = np.random.default_rng(0).normal(size=20)
    calibration = Calibration(known, np.zeros(20, np.int64), 10.0, 20)
    model: Any = SimpleNamespace(calibration=calibration, decision=calibration.decide())
    monitor, clip, found = Monitor(model, "1/month"), Clip(Path("clip.wav")), []
    for i, score in enumerate(scores.tolist()):
        p_value = calibration.p_value(np.array([score]))
        verdict: Any = SimpleNamespace(clip=clip, score=score, p_value=p_value, state=None, state_p_value=None)
        found.append(monitor.update(verdict, 10.0 * (i + 1)).evidence)
    return np.array(found)


def draw_branches() -> None:
    """Draw each branch's p-value of the demo's clips: what is unusual in which clip."""
    import asd

    with tempfile.TemporaryDirectory() as folder:
        model = asd.fit(DATA / "train", false_alarms_per_hour=72.0)
        model.save(Path(folder) / "fan.asd")
        verdicts = [v for v in asd.score(model, DATA / "test") if isinstance(v, asd.Verdict)]
    names = [branch.name for branch in verdicts[0].branches]
    table = np.array([[v.p_value, *(branch.p_value for branch in v.branches)] for v in verdicts]).T
    figure, axes = _figure(7.4, 2.9)
    image = axes.imshow(np.log10(table), cmap="viridis_r", aspect="auto", vmin=np.log10(table.min()), vmax=0)
    for row, column in np.argwhere(table <= model.decision.level):
        axes.text(column, row, "●", ha="center", va="center", color="white", size=7)
    faulty = sum("anomalous" in str(v.clip.path.parent) for v in verdicts)
    axes.axvline(faulty - 0.5, color="white", lw=2)
    axes.set(yticks=range(len(names) + 1), yticklabels=["all together", *names])
    axes.set(xticks=[(faulty - 1) / 2, faulty + (len(verdicts) - faulty - 1) / 2])
    axes.set_xticklabels([f"{faulty} clips of the faulty fan", f"{len(verdicts) - faulty} of the healthy one"])
    axes.tick_params(length=0)
    axes.axhline(0.5, color="white", lw=2)
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    ticks = [1, 0.5, 0.2, 0.1, table.min()]
    bar.set_ticks(np.log10(ticks), labels=[f"{tick:.2g}" for tick in ticks])
    bar.set_label("p-value (● at most the alarm's level)")
    _save(figure, "branches.png")


def draw_report() -> None:
    """Draw the benchmark's report as a browser shows it, at the width of a screen and of a telephone."""
    sys.path.insert(0, str(ROOT / "tests"))
    from asd_bench.provenance import provenance
    from asd_bench.report import write_report
    from browser import Browser
    from invented import invented

    with tempfile.TemporaryDirectory() as name, Browser() as browser:
        folder = Path(name)
        results = invented(folder / "sounds", pipelines=12, machines=6, clips=60, seeds=3)
        path = write_report(results, folder / "report.html", provenance(results, folder, ["asd", "bench", "invented"]))
        for width, height, picture in ((1400, 1750, "bench-report.png"), (400, 2000, "bench-report-narrow.png")):
            browser.open(path, width=width, height=height)
            browser.wait_for("document.querySelectorAll('.chart.live').length > 0")
            browser.screenshot(FOLDER / picture)


def draw_explanation() -> None:
    """Draw why the sample fan is unusual whose bearing knocks for three seconds."""
    import soundfile

    import asd
    from asd.plugin import Audio, Clip
    from asd.sound.machines import spoil
    from asd.sound.reading import read
    from asd_report.picture import draw

    healthy = read(Clip(DATA / "test" / "normal" / "fan_id_00_normal_01.flac"))
    quieter = Audio(healthy.samples * np.float32(0.999), healthy.sample_rate)
    faulty = spoil(quieter, "bearing-knocks", level=-3.0, seed=3, start=4.0, duration=3.0).audio
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "fan.wav"
        soundfile.write(clip, faulty.samples[0], faulty.sample_rate, subtype="FLOAT")
        found = asd.explain(asd.fit(DATA / "train"), clip)
    print("\n".join(found.sentences()), file=sys.stderr)
    (FOLDER / "explain.png").write_bytes(draw(found, "png"))


def draw_notebook() -> None:
    """Draw the notebook of the documentation, run anew, as a browser shows it."""
    import subprocess

    sys.path.insert(0, str(ROOT / "tests"))
    from browser import Browser

    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        source = ROOT / "docs" / "tutorial" / "notebook.ipynb"
        convert = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", str(source), "--output-dir", folder]
        subprocess.run(convert, check=True)
        browser.open(Path(folder) / "notebook.html", width=1050, height=1720)
        browser.screenshot(FOLDER / "notebook.png")


def draw_clip_report() -> None:
    """Take a picture of the top of a report in headless Chromium; without it the old picture stays."""
    import shutil
    import subprocess

    from PIL import Image

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("report.png: no Chromium here, left as it is", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        model, page, picture = (Path(folder) / name for name in ("fan.asd", "fan.html", "report.png"))
        asd = [sys.executable, "-m", "asd"]
        subprocess.run([*asd, "fit", str(DATA / "train"), "-o", str(model)], check=True)
        labels = ["--normal", str(DATA / "test" / "normal"), "--anomalous", str(DATA / "test" / "anomalous")]
        report = [*asd, "report", str(model), *labels, "-o", str(page), "--title", "Fan, test recordings"]
        subprocess.run([*report, "--details", "6"], check=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
        shot = [browser, *options, "--window-size=1200,1700", f"--screenshot={picture}", page.as_uri()]
        subprocess.run(shot, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE).save(FOLDER / "report.png", optimize=True)


def _figure(width: float, height: float, columns: int = 1, rows: int = 1, **options: Any) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height), **options)


def _rectangle(*arguments: Any, **options: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(*arguments, **options)


def _save(figure: Any, name: str) -> None:
    metadata = {"Date": None} if name.endswith(".svg") else None
    figure.savefig(FOLDER / name, dpi=95, metadata=metadata)
    print(f"{name}: {(FOLDER / name).stat().st_size / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
