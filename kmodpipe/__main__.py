"""`python -m kmodpipe COMMAND`: the same as the program `kmodpipe`."""

from kmodpipe.cli.entry import main

main()
