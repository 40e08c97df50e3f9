"""The version, in one place: pyproject.toml, ``--version`` and the files written read it here."""

__all__ = ["__version__"]

__version__ = "0.1.0"
