"""pvboot check on menus of 1,000 to 100,000 lines, beside pygrub's parser and grub-script-check.

    python benchmarks/check.py [--repeat N] [--worst]

Each figure is user + system CPU of a whole process, the best of N, and its peak memory.  pygrub's parser reads the same
menu.lst (it judges nothing); grub-script-check judges the syntax of a grub.cfg of as many lines.  "a line" is the CPU
time above that of the smallest menu, for each further line: it stays the same if cost grows with the number of lines.
--worst adds menus in which every line is wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from fixtures import fetch_parts  # noqa: E402

LINES = (1_000, 10_000, 80_000, 100_000)
PYGRUB_PARSER = """
import sys
sys.path.insert(0, sys.argv[1])
from grub.GrubConf import GrubConfigFile
GrubConfigFile(sys.argv[2])
"""
# A process inherits the peak memory of the one that starts it, so a small one does.
MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)])
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def menu_lst(lines: int) -> str:
    """Entries of four lines, all of them good."""
    entries = (
        f"title Linux {n}\nroot (hd0,0)\nkernel /boot/vmlinuz-{n} root=/dev/xvda1 ro\ninitrd /boot/initrd-{n}\n"
        for n in range((lines - 2) // 4)
    )
    return "default 0\ntimeout 5\n" + "".join(entries)


def wrong_menu_lst(lines: int) -> str:
    """Every line breaks a rule, most of them another word."""
    entries = (
        f"title A\nroot hd{n},0\nkernal{n} “/boot/vmlinuz” \\ \nmodule relative-{n}\n" for n in range((lines - 2) // 4)
    )
    return "default x\ntimeout y\n" + "".join(entries)


def grub_cfg(lines: int) -> str:
    """Entries of four lines, all of them good."""
    entries = (
        f"menuentry 'Linux {n}' {{\n linux /boot/vmlinuz-{n} root=/dev/xvda1 ro\n initrd /boot/initrd-{n}\n}}\n"
        for n in range((lines - 2) // 4)
    )
    return "set default=0\nset timeout=5\n" + "".join(entries)


def measure(command: list[str], repeat: int, codes: tuple[int, ...] = (0,)) -> tuple[float, int]:
    """CPU seconds and peak memory in MiB of the best of some runs."""
    runs = []
    for _ in range(repeat):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *command], cwd=REPOSITORY, check=True, capture_output=True, text=True
        )
        code, cpu, peak_kib = done.stdout.split()
        if int(code) not in codes:
            sys.exit(f"{command}: exit code {code}\n{done.stderr}")
        runs.append((float(cpu), int(peak_kib) // 1024))
    return min(runs)


def series(
    name: str,
    make: Callable[[int], Path],
    command: Callable[[Path], list[str]],
    repeat: int,
    codes: tuple[int, ...] = (0,),
) -> None:
    """One row of the table a size."""
    smallest = 0.0
    for lines in LINES:
        cpu, peak = measure(command(make(lines)), repeat, codes)
        smallest = smallest or cpu
        more = lines - LINES[0]
        slope = f"{(cpu - smallest) / more * 1e6:7.1f}" if more else "      -"
        print(f"{name:<38}{lines:>8}{cpu:>9.3f}{slope}{peak:>8}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--worst", action="store_true")
    args = parser.parse_args()
    library = next((fetch_parts.ensure("pygrub") / "root").glob("usr/lib/xen-*/lib/python"))
    checker = "/usr/bin/grub-script-check"
    if not os.path.exists(checker):
        sys.exit("grub-script-check is missing: apt-get install grub-common")
    with tempfile.TemporaryDirectory(prefix="pvboot-check-") as folder:

        def file(kind: str, text: Callable[[int], str]) -> Callable[[int], Path]:
            def make(lines: int) -> Path:
                path = Path(folder) / f"{lines}-{kind}" / kind
                path.parent.mkdir(exist_ok=True)
                path.write_text(text(lines))
                return path

            return make

        def check(path: Path) -> list[str]:
            return [sys.executable, "-m", "pvboot", "check", "--text-only", str(path)]

        print(f"{'':<38}{'lines':>8}{'CPU s':>9}{'us a line':>10}{'MiB':>5}")
        legacy = file("menu.lst", menu_lst)
        series("pvboot check menu.lst", legacy, check, args.repeat)
        pygrub = [sys.executable, "-c", PYGRUB_PARSER, str(library)]
        series("pygrub's parser, menu.lst", legacy, lambda path: [*pygrub, str(path)], args.repeat)
        modern = file("grub.cfg", grub_cfg)
        series("pvboot check grub.cfg", modern, check, args.repeat, (0, 1))  # 1: more than a script may hold
        series("grub-script-check grub.cfg", modern, lambda path: [checker, str(path)], args.repeat)
        if args.worst:
            series("pvboot check, every line wrong", file("menu.lst", wrong_menu_lst), check, args.repeat, (1,))


if __name__ == "__main__":
    main()
