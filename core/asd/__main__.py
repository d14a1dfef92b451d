"""``python -m asd`` is the command ``asd``."""

from asd.cli.main import main

main()
