"""The command line: one file per command, each with its options, one library call and a table.

Nothing heavy is imported here: ``momentc --help`` must answer at once, and the number of threads
has to be in the environment before numpy, numba and faiss load.
"""

from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command in ``sys.argv`` and end the process with its exit code."""
    from momentc.cli.app import build_command
    from momentc.cli.signals import install_handlers

    install_handlers()
    build_command().main(prog_name="momentc")
    raise AssertionError("the command above always ends the process")
