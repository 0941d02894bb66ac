"""The contract that every command keeps: options, messages, exit status, seeds, provenance.

Exit status: 0 good, 1 a gate failed, 2 bad usage or bad input with one line on stderr, 130
interrupted; a closed pipe ends the command as SIGPIPE does, without a word, and SIGTERM and SIGHUP
end it once it has removed what was half written. An exception that nobody foresaw is a line and
status 2 as well, as 1 would say that a gate failed; HITOOLS_DEBUG=1 shows all of it.
"""

import errno
import logging
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from hitools import __version__
from hitools.cmd.ends import EndedError, die_of, heed_a_lost_end, heed_an_end
from hitools.core.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from hitools.core.format.meta import EventMeta
    from hitools.core.format.provenance import Chain

_F = TypeVar("_F", bound=Callable[..., Any])

EXIT_GATE_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class Command(click.Command):
    """A click command that ends as the contract says."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG002
        """Run with these words (or those of the command line) and exit the process."""
        name = self.name or "hitools"
        # Read when torch is imported. Its threads otherwise spin while they wait for each other,
        # which on a busy machine takes many times longer than the work.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        _fill_closed_streams()
        sys.unraisablehook = heed_a_lost_end
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            heed_an_end()
        _log_to_stderr(name)
        try:
            # Not click's own main(), which turns a closed pipe into exit status 1.
            with self.make_context(name, list(args[0]) if args else sys.argv[1:]) as context:
                self.invoke(context)
            sys.stdout.flush()
            status = 0
        except click.exceptions.Exit as done:
            status = done.exit_code
        except BrokenPipeError:
            _die_of_closed_pipe()
        except (KeyboardInterrupt, click.Abort):
            _leave(EXIT_INTERRUPTED)
        except EndedError as end:
            _silence(sys.stdout.fileno())
            die_of(end.signal)
        except Exception as error:
            print(f"{name}: {explained(error, name)}", file=sys.stderr)
            _silence(sys.stdout.fileno())
            sys.exit(EXIT_BAD_INPUT)
        _leave(status)


def command(
    name: str, cls: type[Command] = Command, **settings: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command with the contract and `--version`."""

    def decorate(function: Callable[..., Any]) -> Command:
        version = click.version_option(__version__, prog_name=name, message="%(prog)s %(version)s")
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        return click.command(name, cls=cls, **settings)(version(function))

    return decorate


def _leave(status: int) -> NoReturn:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _die_of_closed_pipe()
    except OSError as error:
        _silence(sys.stdout.fileno())
        print(f"{Path(sys.argv[0]).name}: standard output: {error.strerror}", file=sys.stderr)
        status = EXIT_BAD_INPUT
    sys.exit(status)


def explained(error: Exception, name: str) -> str:
    """What the user is told of an error, on one line."""
    if isinstance(error, click.ClickException):
        message = f"{error.format_message()} (see {name} --help)"
    elif isinstance(error, InputError):
        message = str(error)
    elif isinstance(error, OSError):
        streams = {errno.ENOSPC: "standard output", errno.EBADF: "standard input or output"}
        where = error.filename or streams.get(error.errno or 0, "input or output")
        message = f"{where}: {error.strerror or error}"
    else:
        if os.environ.get("HITOOLS_DEBUG"):
            traceback.print_exception(error)
        message = (
            f"{type(error).__name__}: {error} ({_where(error)}): a damaged input, or an error of "
            "hitools; HITOOLS_DEBUG=1 shows more"
        )
    return " ".join(message.split())


def _where(error: Exception) -> str:
    """The last of our own lines that an exception came through."""
    root = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root)] or frames
    return f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}"


def _silence(descriptor: int) -> None:
    """What is still buffered goes nowhere, so that the interpreter does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _die_of_closed_pipe() -> NoReturn:
    _silence(sys.stdout.fileno())
    die_of(signal.SIGPIPE)


def _fill_closed_streams() -> None:
    """Put something in the place of standard streams that the caller has closed.

    Otherwise the next file to be opened would be one. Reading and writing data fails there; what is
    told on standard error goes nowhere.
    """
    ways = (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
    for descriptor, (name, flags, mode) in enumerate(ways):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # takes the lowest that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def _log_to_stderr(name: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{name}: %(levelname)s: %(message)s"))
    logging.addLevelName(logging.WARNING, "warning")
    root = logging.getLogger("hitools")
    root.handlers = [handler]
    root.propagate = False


def say(message: str, *, quiet: bool = False) -> None:
    """A sentence for the user, on stderr."""
    if not quiet:
        print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)


def console(stream: Any = None) -> "Console":
    """Where tables go: as wide as the terminal, and never cut off in a file or a pipe."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with status 1, which here is a failed gate

    stream = stream or sys.stdout
    width = None if stream.isatty() else 200
    return Plain(
        file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True
    )


# Options that several commands share -------------------------------------------------------

quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks.")
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="Random seed."
)
workers_option = click.option(
    "-j", "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes."
)
output_option = click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="-",
    help="Output file; - (the default) is standard output, as a stream.",
)
provenance_option = click.option(
    "--no-provenance",
    is_flag=True,
    help="Leave the record of commands out (for output that is the same byte by byte).",
)


def finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Callback of an option that takes inf and nan for numbers otherwise."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("must be finite", context, parameter)
    return value


def input_arguments(**settings: Any) -> Callable[[_F], _F]:
    """Arguments INPUT ... ; without any, standard input where that is no terminal."""

    def default(
        context: click.Context,  # noqa: ARG001
        parameter: click.Parameter,  # noqa: ARG001
        value: tuple[str, ...],
    ) -> tuple[str, ...]:
        if value:
            return value
        if sys.stdin.isatty():
            raise click.UsageError("name an input file, or pipe events in")
        return ("-",)

    return click.argument("inputs", metavar="[INPUT]...", nargs=-1, callback=default, **settings)


class Lineage:
    """Adds this command's step to the provenance of whatever it reads."""

    def __init__(self, *, seed: int | None = None, keep: bool = True) -> None:
        """Keep=False leaves provenance out altogether (--no-provenance)."""
        self._program = Path(sys.argv[0]).name
        self._command = _command_line()
        self._seed = seed
        self._keep = keep
        self._time = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def extend(self, chain: "Chain") -> "Chain":
        """The chain with a last step for this command."""
        from hitools.core.format.provenance import make_step

        if not self._keep:
            return ()
        step = make_step(chain, self._program, __version__, self._command, self._seed, self._time)
        return (*chain, step)

    def stamp(self, meta: "EventMeta") -> "EventMeta":
        """The same metadata with a last step for this command."""
        from dataclasses import replace

        return replace(meta, provenance=self.extend(meta.provenance))


def _command_line() -> str:
    import shlex

    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


@contextmanager
def progress(
    description: str, total: float | None, *, quiet: bool
) -> Iterator[Callable[[float], None]]:
    """A bar on stderr with rate and time left, on a terminal only; yields advance(amount).

    It appears after two seconds, so that short work stays silent.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda amount: None  # noqa: ARG005
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(description, total=total, rate="")
    start = time.monotonic()
    done = 0.0
    shown = False

    def advance(amount: float) -> None:
        nonlocal done, shown
        done += amount
        elapsed = time.monotonic() - start
        if elapsed > 2 and not shown:
            bar.start()
            shown = True
        bar.update(task, completed=done, rate=f"{done / max(elapsed, 1e-9):.3g}/s")

    try:
        yield advance
    finally:
        if shown:
            bar.stop()


def tracked(
    batches: Iterable[Any], total: int | None, description: str, *, quiet: bool
) -> Iterator[Any]:
    """The same batches, with progress counted in events."""
    with progress(description, total, quiet=quiet) as advance:
        for batch in batches:
            yield batch
            advance(len(batch))
