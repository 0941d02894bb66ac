"""Make a model to ship: events, training, sample, report and card, inside a given time.

    bash examples/shipped/make.sh --minutes 25 --output OUT [--preset NAME] [-- OPTIONS OF HI-TRAIN]
    bash examples/shipped/make.sh --minutes 25 --output OUT -- --precision bf16    (on a GPU)

make.sh finds or makes a Python that has everything and runs this. OUT gets small files only: the
model's folder as hitools/models/ takes it (with its card), the scorecard, the report and its
figures, and the log. Events and training state stay in the work folder.

The order of things. A first small file of events; with it the GPU begins (stage 1) while the cores
make held-out and more training events; stage 2 starts from the weights of stage 1 on all events,
with a learning-rate schedule of its own; then sample, scorecard, card. Stages of files were chosen
over one stream `hi-mc | hi-train -` because a GPU takes events faster than cores make them, so that
most have to be seen more than once, and because hi-train continues a file's run bit for bit after
it was killed, which it cannot do with a pipe.

Time. --minutes counts the time that this command runs, all its starts together: kill it at any
moment and start the same again, in slices of any length. Each part has a share of the time (SHARES)
and hi-train is given as many steps as its measured speed fits into it; a part that is slower than
measured is ended at its share, with the best weights so far. Where the time is over before all was
measured, the same command with more --minutes measures the rest. Events of a work folder are made
once: the same command with another --name and --preset trains on the same files for the same time,
which is what two presets have to be compared by.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from running import (
    Children,
    Clock,
    Factory,
    MakingError,
    Record,
    TooLittleTimeError,
    alone,
    cores,
    without_folders,
)

from hitools.core.errors import InputError
from hitools.core.model.folder import ModelFolder
from hitools.core.model.shipped import CARD, DEFAULT
from hitools.core.report.card import card

SHARES = {"stage-1": 0.34, "stage-2": 0.74, "evaluation": 0.97}
"""Of the time, by when each part has to be over. The first events come before stage 1."""

SHARES_OF_LITTLE = SHARES | {"stage-2": 0.6}
"""The same below SMALL_BUDGET: starting the programs of the evaluation takes its time."""

SMALL_BUDGET = 5.0
"""Minutes."""

SAFETY = 0.85
"""Of the steps that the measured speed would fit: validation and start-up are not in it."""

WARMUP = 0.04
"""Of the steps: the paper's 3 of 75 epochs."""

READING = 1.5e-4
"""Seconds that hi-train takes to read an event and to measure the scaling on it."""

ASSUMED_EVENTS_PER_S = 50.0
"""Of hi-mc a worker, before anything was measured; slow, so that the first file comes soon."""

FIRST_EVENTS = (300, 20_000)
HELD_EVENTS = (400, 100_000)
SAMPLE_EVENTS = (400, 100_000)
MOST_EVENTS = 2_000_000
COST_SHARE = 0.04
"""Of the time of the evaluation, to measure the cost of an event in."""

CHUNK_SECONDS = 45.0
"""A kill loses at most one file of events, which takes about so long."""

LARGEST_FILE = 16_000_000
COST = Path(__file__).parents[2] / "benchmarks" / "cost.py"
SCORECARD = COST.with_name("scorecard.py")


class Making:
    """One model in the making."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Folders and records; nothing runs yet."""
        self.options = options
        self.name: str = options.name
        self.work: Path = options.work
        self.folder = self.work / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shared = Record(self.work / "events.json")
        self.record = Record(self.folder / "progress.json")
        self.clock = Clock(self.record)
        minutes = max(options.minutes, self.record.get("minutes", 0.0))
        self.total = 60 * self.record.put("minutes", minutes)
        self.shares = SHARES_OF_LITTLE if self.total < 60 * SMALL_BUDGET else SHARES
        self.children = Children(self.work, self.folder / "log.txt")
        self.factory = Factory(
            self.children, self.shared, max(cores() - options.spare, 1), options.seed
        )

    def run(self) -> None:
        """Everything, from wherever it stands."""
        self.events()
        first = self.train("stage-1", ["first.h5"], [])
        self.publish()
        latest = (self.shares["stage-1"] + 0.05) * self.total
        self.factory.stop(lambda: self.clock.used() > latest)
        files = self.shared.decide("stage-2 files", lambda: list(self.factory.made))
        self.train("stage-2", files, ["--init", str(first.path.relative_to(self.work))])
        self.publish()
        self.evaluate()
        self.publish()

    # Events --------------------------------------------------------------------------------------

    def events(self) -> None:
        """The first file, and the rest in the background."""
        workers = max(cores() - self.options.spare, 1)
        slow = ASSUMED_EVENTS_PER_S * workers  # also where a kill came before the measurement
        guess = int(slow * 0.04 * self.total)
        n_first = self.shared.decide("first events", lambda: _clip(guess, FIRST_EVENTS))
        seconds = self.factory.make("first.h5", n_first, 0)
        if "first.h5" not in self.factory.made:
            self.factory.add("first.h5", n_first)
        rate = self.shared.decide("events per s", lambda: n_first / seconds if seconds else slow)
        stage = self.shares["stage-1"] * self.total - self.clock.used()
        held = self.shared.decide(
            "held events", lambda: _clip(int(0.3 * rate * stage), HELD_EVENTS)
        )
        chunk = self.shared.decide(
            "events of a file", lambda: max(int(rate * min(CHUNK_SECONDS, 0.05 * self.total)), 100)
        )
        if self.shared.get("stage-2 files") is None:
            self.factory.start(held, chunk, MOST_EVENTS)

    # Training ------------------------------------------------------------------------------------

    def train(self, stage: str, files: list[str], more: list[str]) -> ModelFolder:
        """Train a stage to its end, or to the end of its time; the model it leaves.

        Raises TooLittleTimeError where there is no model by then; the same command with more
        minutes plans the stage anew.
        """
        model = ModelFolder(self.folder / stage)
        if self.record.get(f"{stage} done"):
            return model
        try:
            seconds, start = self.train_in_its_time(model, stage, files, more)
        except TooLittleTimeError:
            self.record.forget(f"{stage} time", f"{stage} start", f"{stage} plan", "speed")
            shutil.rmtree(model.path, ignore_errors=True)
            raise
        self.shared.decide(f"{stage} seconds", lambda: seconds)
        self.record.put(f"{stage} seconds", self.clock.used() - start)
        self.record.put(f"{stage} done", True)
        return model

    def train_in_its_time(
        self, model: ModelFolder, stage: str, files: list[str], more: list[str]
    ) -> tuple[float, float]:
        """Train; the seconds that the stage was given, and from when on."""
        end = self.shares[stage] * self.total
        # Another model on these events gets as much time as the first one had.
        seconds = self.shared.get(f"{stage} seconds") or self.record.decide(
            f"{stage} time", lambda: end - self.clock.used()
        )
        start = self.record.decide(f"{stage} start", self.clock.used)
        end = min(start + seconds, self.shares["stage-2"] * self.total)
        plan = self.record.decide(f"{stage} plan", lambda: self.plan(files, end))
        words = self.command(files, stage, plan["steps"])
        words += ["--warmup-epochs", f"{plan['warmup_epochs']:.4g}", *more, *self.options.training]
        left = end - self.clock.used()
        in_time = left > 0 and self.children.run(words, left)
        if not model.weights_path.exists() and stage == "stage-1":
            raise TooLittleTimeError(
                f"{stage}: no epoch ended in its {seconds:.0f} s: more --minutes"
            )
        if not in_time:
            kept = "with its best weights" if model.weights_path.exists() else "without an epoch"
            self.children.say(f"{stage}: ended at its share of the time, {kept}")
        return seconds, start

    def command(self, files: list[str], stage: str, steps: int) -> list[str]:
        """The line of hi-train, in names relative to the work folder."""
        words = ["hi-train", *files, "--steps", str(steps), "--seed", str(self.options.seed)]
        if self.options.preset:
            words += ["--preset", self.options.preset]
        return [*words, "-q", "-o", f"{self.name}/{stage}"]

    def plan(self, files: list[str], end: float) -> dict[str, Any]:
        """Steps, and the epochs of rising rate, that fit into the time until `end`."""
        speed = self.record.decide("speed", lambda: self.measure_speed(files, end))
        n_events = sum(self.factory.made[name] for name in files)
        starting = speed["seconds_to_begin"] + READING * (n_events - speed["events"])
        left = end - self.clock.used() - starting
        steps = max(int(SAFETY * speed["steps_per_s"] * left), 4)
        epochs = steps * speed["batch"] / n_events
        return {"steps": steps, "warmup_epochs": WARMUP * epochs, "epochs": epochs, "end": end}

    def measure_speed(self, files: list[str], end: float) -> dict[str, Any]:
        """Steps a second of hi-train on this machine, while the events are being made."""
        left = end - self.clock.used()
        model = ModelFolder(self.folder / "speed")
        shutil.rmtree(model.path, ignore_errors=True)
        words = self.command(files, "speed", 1_000_000_000)
        began = self.clock.used()
        child = self.children.start([*words, "--save-seconds", "1", *self.options.training])
        points: list[tuple[int, float, float]] = []
        least, most = began + 0.08 * left, began + 0.4 * left
        while child.poll() is None and self.clock.used() < most:
            time.sleep(0.2)
            now = self.clock.used()
            if (point := _progress(model)) and (not points or point[0] > points[-1][0]):
                points.append((*point, now))
            if len(points) > 2 and now > least:
                break
        self.children.interrupt(child)
        if not points:
            raise TooLittleTimeError(
                f"hi-train made no step in {max(most - began, 0):.0f} s: more --minutes"
            )
        (steps, seconds), (last, until) = points[0][:2], points[-1][:2]
        if last == steps:
            steps, seconds = 0, 0.0
        begun = points[0][2] - began - points[0][1]
        batch = model.read_values()["training"]["batch"]
        shutil.rmtree(model.path, ignore_errors=True)
        return {
            "steps_per_s": (last - steps) / max(until - seconds, 1e-9),
            "seconds_to_begin": max(begun, 0.0),
            "events": sum(self.factory.made[name] for name in files),
            "batch": batch,
        }

    # Evaluation ----------------------------------------------------------------------------------

    def model(self) -> ModelFolder:
        """The last stage that has weights."""
        stages = [ModelFolder(self.folder / stage) for stage in ("stage-2", "stage-1")]
        return next(stage for stage in stages if stage.weights_path.exists())

    def evaluate(self) -> None:
        """Sample, scorecard, report; what does not fit into the time is left out."""
        # The folder as it will ship, under its name, which the table shows.
        shipped = self.folder / self.name
        shutil.rmtree(shipped, ignore_errors=True)
        shipped.mkdir()
        for name in ("config.json", "model.safetensors", "metrics.jsonl"):
            shutil.copy(self.model().path / name, shipped / name)
        left = self.shares["evaluation"] * self.total - self.clock.used()
        n_events = self.record.decide(
            f"sample events in {self.total:.0f} s", lambda: self.affordable(shipped, left)
        )
        effort = _effort(self.total / 60)
        words = ["python", str(SCORECARD), str(shipped.resolve()), "--reference", "held.h5"]
        two_stages = self.model().path.name == "stage-2"
        for name in self.shared.get("stage-2 files") if two_stages else ["first.h5"]:
            words += ["--training", name]
        words += ["-n", str(n_events), "--seed", str(1000 * self.options.seed + 1), *effort]
        words += ["-o", f"{self.name}/scorecard", "-j", str(cores())]
        left = self.shares["evaluation"] * self.total - self.clock.used()
        self.children.run([*words, "--time-limit", f"{max(left, 1):.0f}"])

    def affordable(self, model: Path, left: float) -> int:
        """Events of a sample that takes a third of the time left, by the time of a few.

        Raises TooLittleTimeError where not even these can be made.
        """
        if left <= 0:
            raise TooLittleTimeError(f"no time to evaluate {self.name}: more --minutes")
        ms_per_event = self.measure_cost(model, left)
        most = min(SAMPLE_EVENTS[1], self.shared.get("held events"))
        return _clip(int(left / 3 / ms_per_event * 1000), (SAMPLE_EVENTS[0], most))

    def measure_cost(self, model: Path, left: float) -> float:
        """Milliseconds of an event, measured in some of the seconds left."""
        target = f"{self.name}/cost.json"
        words = ["python", str(COST), str(model.resolve()), "--output", target]
        words += ["--seconds", f"{COST_SHARE * left:.2g}"]
        words += ["--device", "cuda" if _has_gpu() else "cpu"]
        if not self.children.run(words, left):
            raise TooLittleTimeError(f"no time to evaluate {self.name}: more --minutes")
        return float(json.loads((self.work / target).read_text())["ms_per_event"])

    # Results -------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Small files to OUT: the model as far as it is, card, scorecard, report, log."""
        out: Path = self.options.output
        target = out / self.name
        target.mkdir(parents=True, exist_ok=True)
        model = self.model()
        for name in ("config.json", "model.safetensors", "metrics.jsonl"):
            shutil.copy(model.path / name, target / name)
        scores = self.folder / "scorecard"
        found = None
        if (scores / "scorecard.json").exists():
            found = json.loads((scores / "scorecard.json").read_text())["models"][0]
            for name in ("scorecard.json", "scorecard.md"):
                shutil.copy(scores / name, out / name)
            report = scores / self.name / "report"
            if report.exists():
                shutil.copytree(report, out / "report", dirs_exist_ok=True)
        (target / CARD).write_text(
            card(
                self.name,
                model,
                found,
                made_by=self.options.line,
                stages=self.stages(),
                notes=self.options.notes.read_text() if self.options.notes else "",
            )
        )
        shutil.copy(self.folder / "log.txt", out / "log.txt")
        large = [p for p in out.rglob("*") if p.is_file() and p.stat().st_size > LARGEST_FILE]
        if large:
            raise MakingError(f"{large[0]}: larger than {LARGEST_FILE:,} bytes")

    def stages(self) -> list[tuple[str, float, int]]:
        """Name, seconds and training events of each stage that is done."""
        made = self.factory.made
        files = {"stage-1": ["first.h5"], "stage-2": self.shared.get("stage-2 files", [])}
        return [
            (stage, self.record.get(f"{stage} seconds", 0.0), sum(made[name] for name in names))
            for stage, names in files.items()
            if ModelFolder(self.folder / stage).weights_path.exists()
        ]


def _progress(model: ModelFolder) -> tuple[int, float] | None:
    """Steps and seconds in the state of a run, without torch; None before the first is saved."""
    from safetensors import SafetensorError, safe_open

    if not model.state_path.exists():
        return None
    try:
        with safe_open(model.state_path, framework="numpy") as state:
            found = json.loads((state.metadata() or {})["progress"])
    except (SafetensorError, OSError):
        return None  # it was being replaced
    return int(found["step"]), float(found["seconds"])


def _effort(minutes: float) -> list[str]:
    """How much of the evaluation a budget can have: classifiers take most of its time."""
    if minutes < SMALL_BUDGET:
        return ["--classifiers", "event", "--seeds", "1", "--cost-seconds", "1"]
    if minutes < 15:
        return ["--classifiers", "event,deepsets", "--seeds", "1", "--cost-seconds", "5"]
    return []


def _has_gpu() -> bool:
    """Whether torch has one, which is asked in a process that does not stay."""
    words = [sys.executable, "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"]
    return subprocess.run(words, check=False).returncode == 0


def _clip(value: int, limits: tuple[int, int]) -> int:
    return max(limits[0], min(value, limits[1]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make.sh", description=(__doc__ or "").splitlines()[0], epilog="-- OPTIONS of hi-train"
    )
    add = parser.add_argument
    add("--minutes", type=float, required=True, help="for everything, all starts together")
    add("--output", type=Path, required=True, help="folder of small files")
    add("--work", type=Path, help="folder of events and states (OUTPUT-work)")
    add("--name", default=DEFAULT, help=f"of the model ({DEFAULT})")
    add("--preset", help="of hi-train (its default)")
    add("--notes", type=Path, help="known failures, by hand, for the card")
    add("--seed", type=int, default=1, help="of events, training and sample (1)")
    add("--spare", type=int, default=2, help="cores left to the training (2)")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:cut])
    options.training = words[cut + 1 :]
    options.line = " ".join(["bash examples/shipped/make.sh", *without_folders(words)])
    options.work = options.work or options.output.with_name(f"{options.output.name}-work")
    if options.minutes <= 0:
        parser.error("--minutes: expected more than 0")
    return options


def main() -> int:
    """Make the model; 2 where it cannot be made, 130 where it was interrupted."""
    options = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    making = None
    try:
        with alone(options.work):
            making = Making(options)
            making.run()
    except (MakingError, InputError) as error:
        print(f"make.sh: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make.sh: interrupted; the same command goes on", file=sys.stderr)
        return 130
    finally:
        if making is not None:
            making.children.end()
            making.clock.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
