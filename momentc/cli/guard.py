"""The only place that turns an exception into an exit code and a message.

Every message has one shape: ``momentc: error: <what, where, expected, what to do>`` on stderr.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from momentc.cli.signals import Terminated, arrived
from momentc.errors import MemoryBudgetError, MomentcError, OutputError, UsageError

__all__ = ["BEGAN", "VERBOSE", "GuardedGroup"]

# Key in the context's meta dictionary, set by a command's -v: show the traceback of an error.
VERBOSE = "momentc.verbose"
# Another: when the command began, in seconds of time.perf_counter.
BEGAN = "momentc.began"

EXIT_BUG = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE
EXIT_TERMINATED = 143  # 128 + SIGTERM


class GuardedGroup(TyperGroup):
    """A group of commands that ends the process with the exit codes of momentc's contract."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; every exception becomes a message and an exit code."""
        ctx.meta[BEGAN] = time.perf_counter()
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()  # so that a closed pipe shows here and not in the interpreter's exit
        except (typer.TyperException, typer.Exit, typer.Abort):
            raise
        except BrokenPipeError as error:
            _discard_output()
            raise typer.Exit(EXIT_BROKEN_PIPE) from error
        except KeyboardInterrupt as error:
            _say(_with_notes("interrupted", error))
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except Terminated as error:
            _say(_with_notes("terminated", error))
            raise typer.Exit(EXIT_TERMINATED) from error
        except BaseException as error:
            raise typer.Exit(_report(error, verbose=bool(ctx.meta.get(VERBOSE)))) from error
        finally:
            arrived()
        return value

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Parse and run; usage errors take the same shape as all others."""
        del standalone_mode  # ours always ends the process
        for stream in (sys.stdout, sys.stderr):
            # A file name may hold bytes that the terminal's encoding does not have.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            status = super().main(
                args, prog_name, complete_var, False, windows_expand_args, **extra
            )
            if status:
                _discard_output()  # what an error left in the buffers is not worth a second one
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
            status = EXIT_BROKEN_PIPE
        except OSError as error:
            _say(f"error: the standard output cannot be written: {error.strerror}")
            _discard_output()
            status = OutputError.exit_code
        except SystemExit as error:  # typer's own answer to a closed pipe is exit code 1
            if not isinstance(error.__context__, BrokenPipeError):
                raise
            _discard_output()
            status = EXIT_BROKEN_PIPE
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "momentc"
            message = error.format_message().replace("\n", " ").strip()
            _say(f"error: {message}\nTry '{command} --help' for the options and examples.")
            status = UsageError.exit_code
        sys.exit(status if isinstance(status, int) else 0)


def _report(error: BaseException, *, verbose: bool) -> int:
    """Say what went wrong; the exit code of it."""
    if verbose and not isinstance(error, SystemExit):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, MomentcError):
        _say(f"error: {error}")
        return error.exit_code
    if isinstance(error, MemoryError):
        detail = f": {error}" if str(error) else ""
        _say(
            f"error: out of memory{detail}; use fewer rows or columns, or a machine with more "
            "memory (compress --dry-run says how much rows need)"
        )
        return MemoryBudgetError.exit_code
    if isinstance(error, SystemExit):
        raise error
    _say(
        f"error: this is a bug in momentc: {type(error).__name__}: {error}\n"
        "Please report it with the command, the shape and dtype of the input, and the output of "
        "the same command with -v."
    )
    return EXIT_BUG


def _with_notes(word: str, error: BaseException) -> str:
    """Add what the work that was cut short left to say, such as where its checkpoint is."""
    return "; ".join([word, *getattr(error, "__notes__", ())])


def _say(message: str) -> None:
    """Write one message to stderr; a closed stderr is no reason to fail differently."""
    try:
        print(f"momentc: {message}", file=sys.stderr, flush=True)
    except OSError:
        _discard_output()


def _discard_output() -> None:
    """Send what is still buffered to nowhere, else the interpreter complains as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError, AttributeError):
            continue  # not a real file (a test's buffer): nothing will be flushed into a pipe
    os.close(nowhere)
