"""What a model reaches of the goals on O-O, as a table: the paper, the goal, measured, floor.

    python benchmarks/scorecard.py MODEL... --reference held.h5 [-n 20000] [-o scorecard] [--json]

MODEL is a folder or the name of a shipped model; several stand side by side. The reference has to
be events that no training or tuning saw; one that shares events with a model's training is refused,
as far as can be told (give --training the files of the training to be sure). All numbers come from
hi-sample, hi-report, hi-flow, hi-classify and benchmarks/cost.py; what they wrote stays in the
folder, with the report and its figures, and is used again while nothing about it changed. Where a
model moves its particles to the sums of their events, closure of Q is that of a sample of -n events
before that, and what it is after stands behind it.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps import OutOfTimeError, StepError, Steps

from hitools import __version__
from hitools.core.errors import InputError
from hitools.core.format.reader import open_events
from hitools.core.model.folder import ModelFolder
from hitools.core.model.shipped import find_model
from hitools.core.report.independence import check
from hitools.core.report.scorecard import MEANING, Column, markdown, numbers

COST = Path(__file__).with_name("cost.py").resolve()


@dataclass(frozen=True)
class Result:
    """What was found of one model.

    Attributes:
        column: of the table.
        remarks: sentences below it.
        commands: that were run for it.
        n_events: of the reference and of the sample.
    """

    column: Column
    remarks: list[str]
    commands: list[str]
    n_events: tuple[int, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.column.model,
            "events": {"reference": self.n_events[0], "sample": self.n_events[1]},
            "rows": self.column.rows(),
            "remarks": self.remarks,
            "commands": self.commands,
        }


def main() -> int:
    """Measure and print; 2 for bad input."""
    options = _arguments()
    try:
        results = _all(options)
    except (InputError, StepError) as error:
        print(f"scorecard.py: {error}", file=sys.stderr)
        return 2
    found = {
        "command": "scorecard",
        "version": __version__,
        "reference": options.reference.name,
        "models": [result.as_dict() for result in results],
    }
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    table = markdown([result.column for result in results])
    remarks = [MEANING, *dict.fromkeys(line for result in results for line in result.remarks)]
    page = table + "".join(f"\n{remark}\n" for remark in remarks)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "scorecard.json").write_text(text)
    (options.output / "scorecard.md").write_text(page)
    print(text if options.json else page, end="")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="folder or name")
    add("--reference", type=Path, required=True, help="events that no training or tuning saw")
    add("-n", "--events", type=int, default=20_000, help="to sample from each model (20000)")
    add("--sample", type=Path, action="append", default=[], help="of each model, instead of -n")
    add("--training", type=Path, action="append", default=[], help="files of the training, in turn")
    add("-o", "--output", type=Path, default=Path("scorecard"), help="folder (scorecard)")
    add("--json", action="store_true", help="print JSON instead of the table")
    add("--seed", type=int, default=1001, help="of the sample (1001)")
    add("--solver")
    add("--steps", type=int)
    add("--precision", choices=["float32", "bf16"], default="float32")
    add("--classifiers", default="event,deepsets,transformer", help="which, with commas")
    add("--seeds", type=int, default=3, help="trainings of each classifier (3)")
    add("--max-events", type=int, default=20_000, help="for the classifiers (20000)")
    add(
        "--transformer-events",
        type=int,
        default=20_000,
        help="for the transformer, trained once: it takes 20 times as long (20000)",
    )
    add("--cost-seconds", type=float, help="to measure the time of an event for")
    add("--time-limit", type=float, help="seconds; what does not end in them is not measured")
    add("-j", "--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    if options.sample and len(options.sample) != len(options.models):
        parser.error(f"{len(options.sample)} --sample for {len(options.models)} models")
    options.classifiers = [name for name in options.classifiers.split(",") if name]
    return options


def _all(options: argparse.Namespace) -> list[Result]:
    deadline = None
    if options.time_limit is not None:
        deadline = time.monotonic() + options.time_limit
    folders = [find_model(model) for model in options.models]
    names = _distinct([folder.path.resolve().name for folder in folders])
    floor = Steps(options.output / "reference", deadline)
    results = []
    for index, (folder, name) in enumerate(zip(folders, names, strict=True)):
        steps = Steps(options.output / name, deadline)
        sample = options.sample[index] if options.sample else None
        results.append(_one(folder, name, steps, floor, sample, options))
    return results


def _distinct(names: list[str]) -> list[str]:
    """Two folders of one name become name and name-2; the floor's folder is not taken."""
    found = ["reference"]
    for name in names:
        tries = [name, *(f"{name}-{k}" for k in range(2, len(names) + 2))]
        found.append(next(one for one in tries if one not in found))
    return found[1:]


def _one(
    folder: ModelFolder,
    name: str,
    steps: Steps,
    floor: Steps,
    sample: Path | None,
    options: argparse.Namespace,
) -> Result:
    config = folder.read_config()
    with open_events(str(options.reference)) as events:
        real = events.meta
    remarks = [
        check(
            name,
            config.meta.provenance,
            config.data,
            options.reference,
            real.provenance,
            options.training,
        )
    ]
    _link(steps.folder / "reference.h5", options.reference)
    model_files = [folder.config_path, folder.weights_path]
    solving = _solving(options)
    if sample is not None:
        _link(steps.folder / "sample.h5", sample)
    else:
        if (steps.folder / "sample.h5").is_symlink():
            (steps.folder / "sample.h5").unlink()
        try:
            _sample(steps, folder, model_files, "sample", solving, options)
        except OutOfTimeError as late:
            remarks.append(f"Nothing was measured in the time given: {late}.")
            n_events = (_count(steps.folder / "reference.h5"), 0)
            return Result(Column(name, {}), remarks, steps.commands, n_events)
    corrected = bool(config.sampling.get("corrections"))
    found, remarks_of_steps = _measure(
        steps, floor, folder, model_files, solving, options, corrected=corrected
    )
    remarks += remarks_of_steps
    n_events = (_count(steps.folder / "reference.h5"), _count(steps.folder / "sample.h5"))
    remarks.append(f"{name}: {n_events[1]:,} events sampled, {n_events[0]:,} real ones.")
    return Result(Column(name, found), remarks, steps.commands, n_events)


def _sample(
    steps: Steps,
    folder: ModelFolder,
    model_files: list[Path],
    name: str,
    solving: list[str],
    options: argparse.Namespace,
) -> None:
    words = ["hi-sample", "-m", str(folder.path.resolve()), "-n", str(options.events), "-q"]
    words += ["--seed", str(options.seed), *solving, "-o", f"{name}.h5"]
    steps.run(name, words, model_files, [f"{name}.h5"])


def _measure(
    steps: Steps,
    floor: Steps,
    folder: ModelFolder,
    model_files: list[Path],
    solving: list[str],
    options: argparse.Namespace,
    *,
    corrected: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Every number for the table, and a sentence on what could not be measured."""
    pair = [steps.folder / "reference.h5", steps.folder / "sample.h5"]
    names = [path.name for path in pair]
    classifying = ["--seeds", str(options.seeds), "--max-events", str(options.max_events)]
    results: dict[str, Any] = {"classifiers": [], "costs": []}
    remarks = []
    try:
        if corrected:
            bare = [*solving, "--corrections", "0"]
            _sample(steps, folder, model_files, "uncorrected", bare, options)
            words = ["hi-qclosure", "uncorrected.h5", "-q", "--json=uncorrected.json"]
            made = [steps.folder / "uncorrected.h5"]
            steps.run("uncorrected-q", words, made, ["uncorrected.json"])
            results["uncorrected"] = _read(steps.folder / "uncorrected.json")
        steps.run("flow", ["hi-flow", *names, "-q", "--json=flow.json"], pair, ["flow.json"])
        results["flow"] = _read(steps.folder / "flow.json")
        results["flow_floor"] = _floor_of_flow(floor, options.reference)
        for device in ("cpu", *(("cuda",) if _has_gpu() else ())):
            results["costs"].append(_cost(steps, folder, device, model_files, solving, options))
        words = ["hi-report", *names, "-o", "report", "-q", "-j", str(options.workers)]
        quick = [name for name in options.classifiers if name != "transformer"]
        words += [*classifying, *(word for name in quick for word in ("--classifier", name))]
        words += [] if quick else ["--skip", "classify"]
        steps.run("report", words, pair, ["report/report.json", "report/report.html"])
        results["report"] = _read(steps.folder / "report/report.json")
        if "transformer" in options.classifiers:
            words = ["hi-classify", *names, "--classifier", "transformer"]
            words += ["--seeds", "1", "--max-events", str(options.transformer_events)]
            words += ["-q", "--json=transformer.json", "--plot", "transformer.pdf"]
            steps.run("transformer", words, pair, ["transformer.json", "transformer.pdf"])
            results["classifiers"].append(_read(steps.folder / "transformer.json"))
    except OutOfTimeError as late:
        remarks.append(f"Not all was measured in the time given: {late}.")
    return numbers(**results), remarks


def _floor_of_flow(floor: Steps, reference: Path) -> dict[str, Any]:
    """hi-flow of one half of the reference against the other."""
    _link(floor.folder / "reference.h5", reference)
    whole = floor.folder / "reference.h5"
    middle = _count(whole) // 2
    for name, part in (("a", f":{middle}"), ("b", f"{middle}:")):
        words = ["hi-cat", "reference.h5", "--events", part, "-q", "-o", f"{name}.h5"]
        floor.run(name, words, [whole], [f"{name}.h5"])
    halves = [floor.folder / "a.h5", floor.folder / "b.h5"]
    words = ["hi-flow", "a.h5", "b.h5", "-q", "--json=flow.json"]
    floor.run("flow", words, halves, ["flow.json"])
    return _read(floor.folder / "flow.json")


def _cost(
    steps: Steps,
    folder: ModelFolder,
    device: str,
    model_files: list[Path],
    solving: list[str],
    options: argparse.Namespace,
) -> dict[str, Any]:
    target = f"cost-{device}.json"
    words = ["python", str(COST), str(folder.path.resolve()), "--device", device, "--json"]
    words += solving
    if options.cost_seconds is not None:
        words += ["--seconds", str(options.cost_seconds)]
    steps.run(f"cost-{device}", words, model_files, [target], stdout=target, also=platform.node())
    return _read(steps.folder / target)


def _solving(options: argparse.Namespace) -> list[str]:
    given = {"--solver": options.solver, "--steps": options.steps}
    words = [str(w) for name, value in given.items() if value is not None for w in (name, value)]
    return [*words, "--precision", options.precision]


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _link(link: Path, target: Path) -> None:
    """Let the commands see the file under a name that says what it is."""
    if not target.is_file():
        raise InputError(f"{target}: no such file")
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve())


def _count(path: Path) -> int:
    with open_events(str(path)) as events:
        if events.n_events is not None:
            return events.n_events
        return sum(len(batch) for batch in events)


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


if __name__ == "__main__":
    sys.exit(main())
