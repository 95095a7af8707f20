"""`python -m commoncanvas`."""

from commoncanvas.cli import main

main()
