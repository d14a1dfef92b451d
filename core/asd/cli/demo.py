"""``asd demo``: from recordings to alarms on sample clips of a fan."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from asd.cli.evaluate import print_evaluation
from asd.cli.flags import LocalPath, cache_option, verbose_option
from asd.cli.options import runtime_from, runtime_options
from asd.cli.output import emphasised, print_table, reporting, say
from asd.detection.calibration import describe_decision
from asd.errors import DataError

# 14 clips of 10 s support 24 alarms an hour at best, and they differ a lot: allow one clip in five.
_FALSE_ALARMS_PER_HOUR = 72.0


@click.command()
@click.option("--data", type=LocalPath(), help="The sample folder, if it is elsewhere.")
@runtime_options
@cache_option
@verbose_option
def demo(
    data: Path | None, device: str, precision: str, batch_size: str, workers: int, cache: bool, verbose: bool
) -> None:
    """Fit, score and evaluate on sample recordings of an industrial fan.

    The recordings are from the MIMII data set (fan id_00; Hitachi, Ltd., CC BY-SA 4.0).
    """
    samples = data or sample_folder()
    with reporting(verbose), tempfile.TemporaryDirectory() as folder:
        from asd.detection.config import Config
        from asd.detection.evaluation import measure
        from asd.detection.model import Model
        from asd.detection.verdict import Verdict
        from asd.sound.finding import find_clips

        train = find_clips([samples / "train"])
        healthy, faulty = find_clips([samples / "test" / "normal"]), find_clips([samples / "test" / "anomalous"])
        say(f"1. Fit: learning from {len(train)} recordings of a healthy fan …")
        config = Config(false_alarms_per_hour=_FALSE_ALARMS_PER_HOUR)
        runtime = runtime_from(device, precision, batch_size)
        fitted = Model.fit(train, config, runtime=runtime, workers=workers, cache=cache)
        fitted.save(Path(folder) / "fan.asd")
        say(describe_decision(fitted.decision, len(fitted.calibration.scores)))
        say("The rate is high because the clips are few: 360 of them would support one alarm an hour.")
        say("\n2. Score: recordings that were not used for learning.")
        model = Model.load(Path(folder) / "fan.asd", runtime=runtime, cache=fitted.pipeline.cache or False)
        several = len(model.branches) > 1
        verdicts = [v for v in model.score(healthy + faulty, workers=workers) if isinstance(v, Verdict)]
        print_table(
            ("verdict", "p-value", "recording", "truth", "unusual in" if several else "score"),
            [
                (
                    emphasised("ALARM", "bold red") if v.anomalous else emphasised("normal", "green"),
                    f"{v.p_value:.3f}",
                    v.clip.path.name,
                    "healthy" if v.clip in healthy else "faulty",
                    ", ".join(v.unusual) if several else f"{v.score:.4g}",
                )
                for v in verdicts
            ],
        )
        say("3. Evaluate: how well do the scores separate the two?")
        judged_healthy = [v for v in verdicts if v.clip in healthy]
        judged_faulty = [v for v in verdicts if v.clip in faulty]
        print_evaluation(measure(model, judged_healthy, judged_faulty), model)
    say(
        "\nNote: in these recordings the faulty fan differs from the healthy one in loudness alone, which separates "
        "them without a mistake. This is a smoke test that everything works, not a measure of quality: a few clips of "
        "one fan are no evidence.\n\n"
        "Next, your own machine: record at least 20 clips of 10 s while it is healthy, then\n"
        "    asd fit MY_HEALTHY_RECORDINGS -o machine.asd\n"
        "    asd score machine.asd MY_NEW_RECORDINGS"
    )


def sample_folder() -> Path:
    """Return the folder of sample clips: inside the installed package, or in the source tree."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sample_data", package.parents[1] / "examples" / "data"):
        if (folder / "train").is_dir():
            return folder
    raise DataError("the sample recordings are not in this installation; name their folder with --data")
