"""`python -m lockgate`: the command without its script on the path, as child processes are started."""

from lockgate.cli.main import main

main()
