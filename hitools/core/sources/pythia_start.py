"""Starting Pythia for Angantyr: settings in, a running Pythia out, its tables kept on disk.

Pythia needs 13 s for the tables of its multiparton interactions, and another 20 s for the fit of
nucleon cross sections where no fit is known. Both depend on the energy and on settings alone, so
they are made once, in a child process, written by Pythia into the user's cache folder, and always
read from there: the first run gives the same events as the following ones.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from hitools.core.errors import InputError
from hitools.core.sources.generation import GeneratorOptions, Setting

_COMMON: Final = (
    "Print:quiet = on",
    "Random:setSeed = on",
    "Random:seed = 19780503",  # for the tables; events have their own seeds
    "Beams:frameType = 1",
)
_FIT_ERRORS: Final = "HeavyIon:SigFitErr = 0.02,0.02,0.1,0.05,0.05,0.0,0.1,0.0"
_KNOWN_FIT: Final = ("HeavyIon:SigFitDefPar = 2.15,17.24,0.33", "HeavyIon:SigFitNGen = 0")
"""What Pythia's example main422 has for energies around 5 TeV. At 5.36 TeV it
gives a total nucleon-nucleon cross section of 87 mb, as Pythia's parametrisation does."""
_KNOWN_FIT_GEV: Final = (5000.0, 5500.0)

_OURS: Final = {
    "Beams:idA": "--system",
    "Beams:idB": "--system",
    "HeavyIon:mode": "--system",
    "Beams:eCM": "--sqrt-s-nn",
    "Beams:frameType": "--sqrt-s-nn",
    "Random:seed": "--seed",
    "Random:setSeed": "--seed",
}
"""Settings that an option of hi-mc has already made, and which."""

_HARMLESS: Final = re.compile(
    r"\s*(HeavyIon:(bWidth|bWidthCut|forceUnitWeight)|ParticleDecays:\w+|\d+:mayDecay)\s*=",
    re.IGNORECASE,
)
"""Settings of the user that tables do not depend on; any other means new tables."""

_OXYGEN: Final = 1000080160


def import_pythia() -> Any:
    """The module pythia8mc; raises InputError that says how to install it where it is missing."""
    try:
        import awkward  # noqa: F401 - pythia8mc hands out particles with it
        import pythia8mc
    except ImportError as error:
        raise InputError(
            f"{error.name} is missing; it comes with: pip install 'hitools[pythia]'"
        ) from None
    return pythia8mc


def start(
    pythia8mc: Any,
    run_settings: Sequence[str],
    options: GeneratorOptions,
    tell: Callable[[str], None],
    hook: Any,
) -> Any:
    """An initialised pythia8mc.Pythia; one to a process.

    Args:
        pythia8mc: the module.
        run_settings: lines that do not touch the tables.
        options: energy and the user's settings, which are read last and so win.
        tell: called with a sentence when tables have to be made.
        hook: a UserHooks for the object that makes whole events.

    Raises:
        InputError: Pythia does not know a setting or a beam, or does not start.
    """
    pythia = pythia8mc.Pythia("", False)
    table_settings = _table_settings(options)
    for line in (*table_settings, *run_settings):
        if not pythia.readString(line):
            raise InputError(f"Pythia does not take {line!r}")
    _read_user_settings(pythia, options.settings)
    for beam in (options.system.projectile, options.system.target):
        if not pythia.particleData.isParticle(beam.pdg):
            raise InputError(f"system {options.system}: Pythia does not know {beam.name}")

    fits = pythia.mode("HeavyIon:SigFitNGen") > 0
    with tempfile.TemporaryDirectory(prefix="hitools-", ignore_cleanup_errors=True) as scratch:
        additions = (s.text for s in options.settings if not _HARMLESS.match(s.text))
        key = [version("pythia8mc"), *table_settings, *additions]
        tables = _cache_folder(Path(scratch)) / _digest(key)
        if not tables.is_dir():
            seconds, what = (35, "fit nucleon cross sections and ") if fits else (15, "")
            tell(
                f"Pythia is to {what}tabulate parton interactions at "
                f"{options.sqrt_s_nn_gev:g} GeV, once: about {seconds} s"
            )
            _make_tables(pythia, tables, fits=fits)
        for line in _reuse(tables, mode=2, fits=fits):
            pythia.readString(line)
        pythia.addUserHooksPtr(hook)
        if not pythia.init():
            raise InputError("Pythia does not start with these settings")
    return pythia


def _read_user_settings(pythia: Any, settings: Sequence[Setting]) -> None:
    """Raises InputError for a line that Pythia does not know, or that changes what is ours."""

    def ours() -> dict[str, str]:
        return {key: pythia.settings.output(key) for key in _OURS}

    expected = ours()
    for setting in settings:
        if not pythia.readString(setting.text) or pythia.settings.readingFailed():
            raise InputError(f"{setting.where}: Pythia does not take {setting.text!r}")
        for key, value in ours().items():
            if value != expected[key]:
                raise InputError(f"{setting.where}: {key} belongs to {_OURS[key]}")


def _table_settings(options: GeneratorOptions) -> list[str]:
    low, high = _KNOWN_FIT_GEV
    fit = _KNOWN_FIT if low <= options.sqrt_s_nn_gev <= high else ()
    return [*_COMMON, f"Beams:eCM = {options.sqrt_s_nn_gev!r}", _FIT_ERRORS, *fit]


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(lines)).encode()).hexdigest()[:24]


def _cache_folder(scratch: Path) -> Path:
    """Where tables are kept: the user's cache folder, or `scratch` where that is not writable."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "hitools" / "pythia"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return scratch
    return folder if os.access(folder, os.W_OK) else scratch


def _reuse(tables: Path, *, mode: int, fits: bool) -> list[str]:
    """Settings that make Pythia write its tables (mode 1) or read them (mode 2)."""
    lines = [
        f"MultipartonInteractions:reuseInit = {mode}",
        f"MultipartonInteractions:initFile = {tables / 'nucleons.mpi'}",
        f"HeavyIon:SasdMpiReuseInit = {mode}",
        f"HeavyIon:SasdMpiInitFile = {tables / 'secondary.mpi'}",
    ]
    if fits:  # without a fit, Pythia would write an average that it never computed
        lines += [
            f"HeavyIon:SigFitReuseInit = {mode}",
            f"HeavyIon:SigFitInitFile = {tables / 'cross_sections.fit'}",
        ]
    return lines


def _make_tables(pythia: Any, tables: Path, *, fits: bool) -> None:
    """Let a child process start Pythia and write the tables, then put them in place at once."""
    with tempfile.TemporaryDirectory(dir=tables.parent, prefix=".making-") as making:
        made = Path(making) / "tables"
        made.mkdir()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                # The tables hold for all nuclei: made with the same beams, they are the same.
                lines = [f"Beams:idA = {_OXYGEN}", f"Beams:idB = {_OXYGEN}"]
                for line in [*lines, *_reuse(made, mode=1, fits=fits)]:
                    pythia.readString(line)
                status = 0 if pythia.init() else 1
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        if status != 0:
            raise InputError("Pythia does not start with these settings")
        try:
            made.rename(tables)
        except OSError:
            if not tables.is_dir():  # else another run was faster, with the same tables
                raise
