"""Options of commands, once for the command line and the call. Imports nothing heavy: `--help` shows them."""
