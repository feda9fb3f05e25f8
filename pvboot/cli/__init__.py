"""The command line: one module a verb; argument parsing and printing only.

Each verb is a module of its own name here, imported only when it is called.  It has

* `HELP`: its line in `pvboot --help`;
* `add_arguments(parser: argparse.ArgumentParser) -> None`: its arguments, and description and epilog (examples) of
  `pvboot VERB --help`; the shared arguments are in `common`;
* `run(args: argparse.Namespace) -> int`: does it and returns the exit code.

Its name stands in `main.VERBS`.  `pvboot --help` imports them all for their `HELP`, so a verb imports what it works
with inside its functions.  Errors are raised, never printed: `main` gives them their line and exit code.
"""
