"""``python -m momentc``."""

from momentc.cli import main

main()
