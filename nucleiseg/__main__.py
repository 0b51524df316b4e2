"""``python -m nucleiseg`` is the command ``nucleiseg``."""

from nucleiseg.cli import main

main()
