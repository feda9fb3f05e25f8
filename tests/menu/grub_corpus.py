"""grub.cfg files as distributions write them, and generated ones; each is judged by the real GRUB 2."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.distributions import BOOT_UUID, ROOT_UUID, distributions, environment
from tests.grub_oracle.emu import Disk


@dataclass(frozen=True, slots=True)
class Case:
    """A menu on the first disk, other files beside it, further disks behind it."""

    text: str
    files: dict[str, bytes] = field(default_factory=dict)
    others: tuple[Disk, ...] = ()
    uuid: str = ROOT_UUID
    label: str | None = None
    config: str = "/boot/grub/grub.cfg"

    def disks(self) -> tuple[Disk, ...]:
        tree = {self.config[1:]: self.text.encode("utf-8", "surrogateescape"), **self.files}
        return (Disk(tree, self.uuid, self.label), *self.others)


CONTROL = r"""
function outer { if [ "$1" = "a" ]; then return 3; fi; inner "$@"; result="$result<$?>"; }
function inner { result="$result($# $* $1)"; shift; result="$result[$1]"; return; }
outer a
result="$result $?"
outer b "c d"
if true; then if false; then result=never; elif [ 1 -eq 01 -a 0x10 -gt 15 ]; then
 for x in 1 2 3 4 5; do
  if [ $x -gt 3 ]; then break; fi
  for y in a b c; do if [ $y = b ]; then continue 2; fi; result="$result $x$y"; done
 done
else result=else; fi; fi
if ! false; then result="$result not"; fi
if ! unknown_command; then result="$result unknown"; fi
if [ ! -e /nothing -a ( a = b -o b = b ) ]; then result="$result paren"; fi
if [ vmlinuz-2 -plt vmlinuz-11 ]; then result="$result plt"; fi
if [ -d /boot -a -f /boot/grub/grub.cfg -a -s /boot/grub/grub.cfg ]; then result="$result files"; fi
if [ a \< b ]; then result="$result less"; fi
if [ "" ]; then result="$result wrong"; fi
if [ ]; then result="$result empty"; fi
set w="  two  words "
menuentry "$w" $w { linux /k $w "$w" x${w}y "$2" $3 $# "$*" $@; }
menuentry 'glob' { linux /k /boot/gr?b/*.cfg /nothing* "/boot/gru*" a*b; }
menuentry joined\
title { linux /k a\
b \
c ; initrd /i }
menuentry 'comment' { # here
  linux /k a#b # not this
}
"""

ERRORS = """
menuentry A { linux /a }
fi
menuentry B { linux /b; }}
menuentry C { linux /c }
echo a && echo b
result=x; |
if true; then
  function f { true; }
fi
menuentry D { linux /d }
menuentry E { }
result="$result y"; menuentry F { linux /f }
for a-b in c; do result=never; done
case x in
menuentry G { linux /g $1 "${1}x" }
menuentry H { linux /h $ }
menuentry I { linux /i
"""


def _of(name: str, files: dict[str, bytes] | None = None, second: dict[str, bytes] | None = None) -> Case:
    """The menu of a distribution, with other files beside it or a second disk."""
    guest = distributions()[name]
    others = () if second is None else (Disk(second, BOOT_UUID),)
    return Case(guest.text, {**guest.files, **(files or {})}, others, config=guest.expect["menu"]["path"])


_NEXT = "gnulinux-advanced>gnulinux-recovery"
WRITTEN: dict[str, Case] = {
    "debian": _of("debian-12", {"boot/grub/grubenv": environment(next_entry=_NEXT)}),
    "debian custom": _of(
        "debian-12",
        {"boot/grub/grubenv": b"", "boot/grub/custom.cfg": b"menuentry custom { linux /k }\nset timeout=7\n"},
    ),
    "ubuntu": _of("ubuntu-22.04", second={}),
    "ubuntu recordfail": _of("ubuntu-22.04", {"boot/grub/grubenv": environment(recordfail="1")}, {}),
    "fedora": _of("fedora-39", second={}),
    "fedora kernelopts": _of("fedora-39", {"boot/grub2/grubenv": environment(kernelopts="root=/dev/x ro a=b ")}),
    "suse": _of("opensuse-15.5"),
    "arch": _of("arch", second={"vmlinuz-linux": b"x"}),
    "gentoo": _of("gentoo"),
    "yocto": _of("yocto"),
    "live": _of("live-loopback"),
    "control flow": Case(CONTROL, {"boot/grub/b.cfg": b"", "boot/grub/a.cfg": b""}),
    "errors": Case(ERRORS),
}

_WORDS = [
    "a",
    "$v",
    '"$v"',
    "'q $v'",
    '"x $w y"',
    "${w}",
    "p$w",
    "$w$v",
    "b\\ c",
    '""',
    "$nothing",
    "$#",
    "$1",
    "\\$v",
    '"\\"x\\\\"',
    "a=b",
    "--id=$v",
    "-x",
    "if",
    "done",
    "in",
    "a#b",
    "$?",
    "é",
]
_TITLES = ["M", '"t$v"', "'a b'", "m$w", '"é > $#"']
_TESTS = [
    "$v = a",
    '"$w" = "a b"',
    "-z $nothing",
    "-n x",
    "! a = a",
    "1 -lt 2 -a 2 -lt 1",
    "1 -lt 2 -o 2 -lt 1",
    "( a = b ) -o -e /boot",
    "-f /boot/grub/grub.cfg",
    "$v",
    "0x1f -eq 31",
    "-2 -lt 1",
    "k-9 -pgt k-10",
]


def generated(seed: int) -> Case:
    """A random script that the grammar allows."""
    choose = random.Random(seed)

    def words(most: int) -> str:
        return " ".join(choose.choice(_WORDS) for _ in range(choose.randint(1, most)))

    def statement(depth: int) -> str:
        kind = choose.randrange(9 if depth < 3 else 4)
        if kind == 0:
            return f"set {choose.choice('vw')}={choose.choice(_WORDS)}"
        if kind == 1:
            return f'result="$result,{choose.choice("vw")}$v"'
        if kind == 2:
            return f"f {words(3)}" if depth < 3 else "true"  # not from within itself
        if kind == 3:
            return f"unset {choose.choice('vw')}"
        if kind in (4, 5):
            other = f" else {statement(depth + 1)};" if choose.random() < 0.5 else ""
            return f"if {choose.choice(['', '! '])}[ {choose.choice(_TESTS)} ]; then {block(depth)}{other} fi"
        if kind == 6:
            ending = choose.choice(["", "break; ", "continue; "])
            return f"for v in {words(3)}; do\n{block(depth)} {ending}result=$result.; done"
        if kind == 7:
            return f"while [ x$n != x11 ]; do n=1$n; {block(depth)} done"
        return f"menuentry {choose.choice(_TITLES)} {words(2)} {{ {loader()}{choose.choice([';', '', ' ;'])} }}"

    def block(depth: int) -> str:
        return "".join(statement(depth + 1) + choose.choice([";", "\n", "; "]) for _ in range(choose.randint(1, 3)))

    def loader() -> str:
        return f"linux /k {words(5)}; initrd /i{choose.choice(['', ' /j', '$v'])}"

    lines = ["v=a", 'w="a b"', "n=", f"function f {{ result=$result+$#; {statement(3)}; }}"]
    lines += [statement(0) for _ in range(choose.randint(3, 8))]
    lines += [f"menuentry T{number} {words(2)} {{ {loader()}\n}}" for number in range(2)]
    return Case("\n".join(lines) + "\n")
