"""Many runs of one boot loader in one interpreter: each is a fork of a process that has everything imported.

    worker.py ours|pygrub

Reads JSON lists of arguments, one a line; answers each with {"code", "stdout", "stderr"}.  A fresh interpreter for each
of hundreds of runs would cost minutes.  Standard library only: pygrub's half runs under Debian's interpreter.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import traceback
from pathlib import Path


def run_ours(arguments: list[str]) -> int:
    from pvboot.libxl.pygrub.main import run

    return run(arguments)


def run_pygrub(arguments: list[str]) -> int:
    """The script as it is; an exception that leaves it ends the interpreter with 1."""
    script = Path(sys.argv[2]) / "bin" / "pygrub"
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as err:
        if err.code is not None and not isinstance(err.code, int):
            print(err.code, file=sys.stderr)
            return 1
        return err.code or 0
    return 0


def in_child(run: object, arguments: list[str]) -> dict[str, object]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            code = 1
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            try:
                code = run(arguments)  # type: ignore[operator]
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "surrogateescape"))
    return {"code": os.waitstatus_to_exitcode(status), "stdout": texts[0], "stderr": texts[1]}


def main() -> None:
    if sys.argv[1] == "pygrub":
        sys.path.insert(1, str(Path(sys.argv[2]) / "lib" / "python"))
        for name in ("curses", "getopt", "logging", "subprocess", "tempfile", "xenfsimage"):
            __import__(name)
        run: object = run_pygrub
    else:
        import pvboot.libxl.pygrub.main  # noqa: F401

        run = run_ours
    for line in sys.stdin:
        print(json.dumps(in_child(run, json.loads(line))), flush=True)


main()
