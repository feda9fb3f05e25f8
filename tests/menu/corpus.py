"""Menus of GRUB Legacy: those of distributions, odd ones, and random ones made of real lines."""

from __future__ import annotations

import random
import re

from tests.distributions import distributions

GENTOO_SPLIT_LINES = b"""\
default 0\r
timeout 30\r
title Gentoo \\\r
  Linux\r
root (hd0,0)\r
kernel /kernel \\\r
\troot=/dev/ram0 real_root=/dev/xvda3 \\
# not a comment, the line goes on
initrd /initramfs\r
"""

ODDITIES = {
    "split lines": GENTOO_SPLIT_LINES,
    "empty": b"",
    "only comments": b"# nothing\n  # here\n",
    "no title": b"default 1\ntimeout 5\nroot (hd0,0)\n",
    "comment goes on": b"timeout 9\ntitle A\nroot (hd0,0)\n# remark \\\ntitle swallowed\nboot\ntitle B\nboot\n",
    "title without commands": b"timeout 9\ntitle gone\ntitle A\nboot\ntitle last gone\n",
    "unknown commands only": b"timeout 9\ntitle gone\nfoo\nKERNEL /x\ntitle A\nboot\n",
    "case matters": b"Timeout 5\ntimeout 9\nTitle gone\ntitle A\nBoot\nboot\n",
    "equal signs": b"timeout==9\ntitle == = A=B = C\nkernel=/x=y a=b\nroot =(hd0,0)\n",
    "empty title": b"timeout 9\ntitle\nboot\ntitle \nroot\n",
    "same title twice": b"timeout 9\ntitle A\nboot\ntitle A\nroot (hd0,0)\n",
    "titleX is no title": b"timeout 9\ntitle A\nboot\ntitleX\ntitles B\nroot\n",
    "trailing blanks": b"timeout 9   \ntitle A  \nkernel /x  a \n",
    "byte order mark": b"\xef\xbb\xbftimeout 5\ntitle A\nboot\n",
    "latin-1": b"timeout 9\ntitle caf\xe9 \xa0x\nkernel /caf\xe9 \xff\n",
    "carriage returns only": b"timeout 9\rtitle A\rboot\r",
    "carriage return in a word": b"time\rout 9\ntit\rle A\rB\nbo\rot\n",
    "backslashes": b"timeout 9\ntitle A\\B\\ C\\\\D\nkernel /x\\y \\\nz \\\\\nw\nroot (hd0,0)\\",
    "backslash and blank": b"timeout 9\ntitle A \\ \nroot (hd0,0)\n",
    "line begins with a backslash": b"timeout 9\n\\\ntitle A\nboot\n\\x\n",
    "continued into a comment sign": b"timeout 9\ntitle A\\\n#B\nboot\n",
    "NUL in a title": b"timeout 9\ntitle A\0B\nkernel /x\0y\nboot\n",
    "NUL first": b"timeout 9\n\0title gone\ntitle A\nboot\n",
    "no newline at the end": b"timeout 9\ntitle A\nboot",
    "head commands in an entry": b"timeout 9\ntitle A\ndefault 3\ntimeout 1\nfallback 1\nhiddenmenu\nboot\n",
    "entry commands in the head": b"root (hd0,0)\nkernel /x\nconfigfile /nope\ntimeout 9\ntitle A\nboot\n",
    "hidden without timeout": b"hiddenmenu\ntitle A\nboot\n",
    "lock without password": b"timeout 9\ntitle A\nlock\nboot\n",
    "password": b"timeout 9\npassword secret\ntitle A\nlock\nboot\ntitle B\nroot\n",
    "a long title": b"timeout 9\ntitle " + b"T" * 300 + b"\nboot\n",
    "a too long line": b"timeout 9\ntitle A\nkernel /x " + b"k" * 2000 + b" end\nboot\n",
    "a too long line goes on": b"timeout 9\ntitle A\nkernel /x " + b"k" * 2000 + b"\\\nend\nboot\n",
    "vertical tab and form feed": b"timeout 9\ntitle A\x0bB\nroot\x0c(hd0,0)\nboot\n",
}

NUMBERS = [
    b"0",
    b"1",
    b"2",
    b"7",
    b"99",
    b"0x1",
    b"0X2",
    b"1st",
    b"x",
    b"",
    b"-1",
    b"+1",
    b"saved",
    b"saved ",
    b"2147483647",
    b"2147483648",
    b"0x7fffffff",
    b"0x80000000",
    b"0x",
    b"1 2",
    b"01",
    b"1,2",
]
THREE = b"title A\nroot (hd0,0)\ntitle B\nboot\ntitle C\nboot\n"


WITH_WORDS_OF_UBUNTU = ("ubuntu-8.04", "ubuntu-9.04")  # `quiet` and `uuid`, which its patches add


def written() -> dict[str, bytes]:
    """Menus by name, as GRUB's shell can show them: the clock runs."""
    menus = dict(ODDITIES)
    for name, guest in distributions("menu.lst").items():
        if name not in WITH_WORDS_OF_UBUNTU:
            menus[name] = re.sub(rb"(?m)^(timeout[\t =]+)0$", rb"\g<1>9", guest.menu.read_bytes())
    for number in NUMBERS:
        menus[f"default {number!r}"] = b"timeout 9\ndefault " + number + b"\n" + THREE
        menus[f"default 1 then {number!r}"] = b"timeout 9\ndefault 1\ndefault " + number + b"\n" + THREE
        if number not in (b"0", b"1 2", b"01", b"2147483647", b"0x7fffffff"):
            menus[f"timeout {number!r}"] = b"timeout 7\ntimeout " + number + b"\n" + THREE
        menus[f"default beyond, fallback {number!r}"] = b"timeout 9\ndefault 5\nfallback " + number + b"\n" + THREE
    return menus


_HEAD = [
    b"default 1",
    b"default=2",
    b"timeout 8",
    b"timeout=9",
    b"hiddenmenu",
    b"fallback 1 2",
    b"fallback 2 2 1",
    b"fallback 1 x",
    b"color red/black",
    b"default saved",
    b"pager on",
    b"root (hd0,0)",
    b"kernel /x",
    b"junk",
]
_ENTRY = [
    b"root (hd0,0)",
    b"kernel /vmlinuz root=/dev/xvda1  ro ",
    b"initrd /initrd",
    b"module /m  a b",
    b"boot",
    b"savedefault",
    b"lock",
    b"default 2",
    b"makeactive",
    b"chainloader +1",
    b"Kernel /x",
    b"junk a b",
    b"rootnoverify (hd0)",
    b"configfile /x",
    b"pause hm",
]
_JOINTS = [b"\n"] * 10 + [
    b"\r\n",
    b"\n\n",
    b"\\\n",
    b"\\\r\n",
    b" \\\n\t",
    b"\n# remark\n",
    b"\n# remark \\\n",
    b"\n\t",
    b"\n  ",
    b"\\ \n",
    b"\r",
    b"\0\n",
]


def random_menu(seed: int) -> bytes:
    """A menu of real lines, joined in ways that GRUB's reader must get right."""
    dice = random.Random(seed)
    lines = [b"timeout 8", *dice.sample(_HEAD, dice.randrange(5))]
    for number in range(dice.randrange(1, 6)):
        lines.append(dice.choice([b"title Entry %d", b"title=Entry %d  x", b"title\tEntry\t%d", b" title %d"]) % number)
        lines += dice.choices(_ENTRY, k=dice.randrange(4))
    return b"".join(line + dice.choice(_JOINTS) for line in lines)
