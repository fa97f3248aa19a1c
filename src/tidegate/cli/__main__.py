"""`python -m tidegate.cli` is the `tidegate` command."""

from tidegate.cli import main

main()
