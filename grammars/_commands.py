"""Made by tools/generate_parsers.py from grammars/commands.py: `make generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grammars.source import lazily_compiled

_match0 = lazily_compiled(r" *+(?>((?>saved\Z))|((?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))|((?>[\s\S]+)))")
_match1 = lazily_compiled(r" *+(?>((?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))(?>[^ ]*)|((?>[\s\S]+)))")
_match2 = lazily_compiled(r" *+(?>((?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))|((?>[\s\S]+)))")
_match3 = lazily_compiled(r" *+((?>[\s\S]+))")
_match4 = lazily_compiled(r" *+((?>--md5[^ ]*))")
_match5 = lazily_compiled(r" *+((?>--[^ ]*))")
_match6 = lazily_compiled(r" *+((?>[^ ]+))")
_match7 = lazily_compiled(r"(?: *+(?>--(?:default=|once)[^ ]*))*+")
_match8 = lazily_compiled(r" *+(?>fallback *\Z)")
_match9 = lazily_compiled(r" *+(?>((?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))|((?>[^ ]+)))")
_match10 = lazily_compiled(r" *+((?>--type=(?!netbsd|freebsd|openbsd|linux|biglinux|multiboot)[^ ]*))")
_match11 = lazily_compiled(r" *+(?>--(?:type=|no-mem-option)[^ ]*)")
_match12 = lazily_compiled(r" *+((?>(?=-)))")
_match13 = lazily_compiled(r" *+((?>[^ ](?:[\s\S]*[^ ])?))")
_match14 = lazily_compiled(r" *+(?>--(?:force)[^ ]*)")
_match15 = lazily_compiled(r" *+(?>--(?:no-apm)[^ ]*)")
_match16 = lazily_compiled(
    r" *+(?>((?>(?:blink-)?(?:black|blue|green|cyan|red|magenta|brown|light-gray|dark-gray|light-blue|light-green|light-cyan|light-red|light-magenta|yellow|white)/(?:black|blue|green|cyan|red|magenta|brown|light-gray)(?![^ ])))|((?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))(?>[^ ]*)|((?>[^ ]+)))"
)
_match17 = lazily_compiled(r" *+(?>((?>(?:on|off)(?![^ ])))|((?>[^ ]+)))")
_match18 = lazily_compiled(r"(?: *+(?>--(?:dumb|no-echo|no-edit|silent|timeout=|lines=)[^ ]*))*+")
_match19 = lazily_compiled(r" *+(?>(?:console|serial|graphics|hercules|vga)(?![^ ]))")
_match20 = lazily_compiled(r" *+(?>--(?:all)[^ ]*)")
_match21 = lazily_compiled(r" *+((?>--with-configfile[^ ]*))")
_match22 = lazily_compiled(
    r" *+((?>--server=(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ])))"
)
_match23 = lazily_compiled(
    r" *+(?>--(?:address|gateway|mask)=(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ]))"
)
_match24 = lazily_compiled(r" *+(?>((?>--(?:address|gateway|mask|server)=[^ ]*))|((?>[^ ]+)))")
_match25 = lazily_compiled(
    r" *+(?>((?>(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ])))|((?>[^ ]+)))"
)


def _default(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match0(text, at):
        if m.lastindex == 1:
            out += build.part("saved")(text, m.start(1), (m[1],))
        elif m.lastindex == 2:
            out += build.number(text, m.start(2), (m[2],))
        else:
            out += build.wrong("no number in {text}", 23, False)(text, m.start(3), (m[3],))
        at = m.end()
    else:
        out += build.wrong("no number in {text}", 23)(text, at, ())
    return at


def _fallback(text: str, at: int, out: list[Any], build: Any) -> int:
    while m := _match1(text, at):
        if m.lastindex == 1:
            out += build.number(text, m.start(1), (m[1],))
        else:
            out += build.wrong("no number in {text}", 23, False)(text, m.start(2), (m[2],))
        at = m.end()
    return at


def _timeout(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match2(text, at):
        if m.lastindex == 1:
            out += build.number(text, m.start(1), (m[1],))
        else:
            out += build.wrong("no number in {text}", 23, False)(text, m.start(2), (m[2],))
        at = m.end()
    else:
        out += build.wrong("no number in {text}", 23)(text, at, ())
    return at


def _title(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match3(text, at):
        out += build.part("text")(text, m.start(1), (m[1],))
        at = m.end()
    return at


def _password(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match4(text, at):
        out += build.part("md5")(text, m.start(1), (m[1],))
        at = m.end()
    if m := _match5(text, at):
        out += build.part("unsupported")(text, m.start(1), (m[1],))
        at = m.end()
    if m := _match6(text, at):
        out += build.part("password")(text, m.start(1), (m[1],))
        at = m.end()
        if m := _match6(text, at):
            out += build.part("file")(text, m.start(1), (m[1],))
            at = m.end()
    return at


def _savedefault(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match7(text, at)):
        return -1
    at = m.end()
    if m := _match8(text, at):
        at = m.end()
    elif m := _match9(text, at):
        if m.lastindex == 1:
            out += build.number(text, m.start(1), (m[1],))
        else:
            out += build.wrong("{command} takes an entry's number or fallback, not {text}", 0, False)(
                text, m.start(2), (m[2],)
            )
        at = m.end()
    return at


def _root(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match6(text, at):
        out += build.part("device")(text, m.start(1), (m[1],))
        at = m.end()
        if m := _match6(text, at):
            out += build.part("bias")(text, m.start(1), (m[1],))
            at = m.end()
    return at


def _uuid(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match6(text, at):
        out += build.part("uuid")(text, m.start(1), (m[1],))
        at = m.end()
    else:
        out += build.wrong("{command} names no file system", 0)(text, at, ())
    return at


def _kernel(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match10(text, at):
            out += build.wrong(
                "{text}: not a type of kernel, expected netbsd, freebsd, openbsd, linux, biglinux, multiboot", 30, False
            )(text, m.start(1), (m[1],))
            at = m.end()
        elif m := _match11(text, at):
            at = m.end()
        else:
            break
    if m := _match12(text, at):
        out += build.wrong("{text} is not an option of {command} and is taken for the file's name", 0, False)(
            text, m.start(1), (m[1],)
        )
        at = m.end()
    if m := _match6(text, at):
        out += build.part("file")(text, m.start(1), (m[1],))
        at = m.end()
    else:
        out += build.wrong("{command} names no file", 0)(text, at, ())
    if m := _match3(text, at):
        out += build.part("rest")(text, m.start(1), (m[1],))
        at = m.end()
    return at


def _initrd(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match6(text, at):
        out += build.part("file")(text, m.start(1), (m[1],))
        at = m.end()
    else:
        out += build.wrong("{command} names no file", 0)(text, at, ())
    if m := _match13(text, at):
        out += build.wrong("GRUB loads only the first file of an initrd line, not {text}", 0, True)(
            text, m.start(1), (m[1],)
        )
        at = m.end()
    return at


def _module(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match6(text, at):
        out += build.part("file")(text, m.start(1), (m[1],))
        at = m.end()
    else:
        out += build.wrong("{command} names no file", 0)(text, at, ())
    if m := _match3(text, at):
        out += build.part("rest")(text, m.start(1), (m[1],))
        at = m.end()
    return at


def _chainloader(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match14(text, at):
        at = m.end()
    if m := _match6(text, at):
        out += build.part("file")(text, m.start(1), (m[1],))
        at = m.end()
    else:
        out += build.wrong("{command} names no file", 0)(text, at, ())
    return at


def _configfile(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match6(text, at):
        out += build.part("file")(text, m.start(1), (m[1],))
        at = m.end()
    else:
        out += build.wrong("{command} names no file", 0)(text, at, ())
    return at


def _cmp(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match6(text, at):
        out += build.part("file")(text, m.start(1), (m[1],))
        at = m.end()
        if m := _match6(text, at):
            out += build.part("file")(text, m.start(1), (m[1],))
            at = m.end()
        else:
            out += build.wrong("{command} needs two files", 30)(text, at, ())
    else:
        out += build.wrong("{command} needs two files", 30)(text, at, ())
    return at


def _geometry(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match6(text, at):
        out += build.part("device")(text, m.start(1), (m[1],))
        at = m.end()
    return at


def _halt(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match15(text, at):
        at = m.end()
    return at


def _color(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match16(text, at):
        if m.lastindex == 1:
            out += build.part("color")(text, m.start(1), (m[1],))
        elif m.lastindex == 2:
            out += build.number(text, m.start(2), (m[2],))
        else:
            out += build.wrong("{text} is not a color, expected FOREGROUND/BACKGROUND such as white/blue", 23, False)(
                text, m.start(3), (m[3],)
            )
        at = m.end()
    else:
        out += build.wrong("{text} is not a color, expected FOREGROUND/BACKGROUND such as white/blue", 23)(text, at, ())
    if m := _match16(text, at):
        if m.lastindex == 1:
            out += build.part("color")(text, m.start(1), (m[1],))
        elif m.lastindex == 2:
            out += build.number(text, m.start(2), (m[2],))
        else:
            out += build.wrong("{text} is not a color, expected FOREGROUND/BACKGROUND such as white/blue", 23, False)(
                text, m.start(3), (m[3],)
            )
        at = m.end()
    return at


def _pager(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match17(text, at):
        if m.lastindex == 1:
            out += build.part("switch")(text, m.start(1), (m[1],))
        else:
            out += build.wrong("{text}, expected on or off", 30, False)(text, m.start(2), (m[2],))
        at = m.end()
    return at


def _terminal(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match18(text, at)):
        return -1
    at = m.end()
    while True:
        if m := _match19(text, at):
            at = m.end()
        elif m := _match6(text, at):
            out += build.wrong(
                "{text} is not a terminal, expected console, serial, graphics, hercules, vga", 30, False
            )(text, m.start(1), (m[1],))
            at = m.end()
        else:
            break
    return at


def _help(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match20(text, at):
            at = m.end()
        elif m := _match6(text, at):
            out += build.part("pattern")(text, m.start(1), (m[1],))
            at = m.end()
        else:
            break
    return at


def _dhcp(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match21(text, at):
        out += build.part("configfile")(text, m.start(1), (m[1],))
        at = m.end()
    return at


def _ifconfig(text: str, at: int, out: list[Any], build: Any) -> int:
    while True:
        if m := _match22(text, at):
            out += build.value("server")(text, m.start(1), (m[1],))
            at = m.end()
        elif m := _match23(text, at):
            at = m.end()
        elif m := _match24(text, at):
            if m.lastindex == 1:
                out += build.wrong("{text}: not an IPv4 address", 30, False)(text, m.start(1), (m[1],))
            else:
                out += build.wrong("{text} is not an option of {command}", 30, False)(text, m.start(2), (m[2],))
            at = m.end()
        else:
            break
    return at


def _tftpserver(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match25(text, at):
        if m.lastindex == 1:
            out += build.part("server")(text, m.start(1), (m[1],))
        else:
            out += build.wrong("{text}: not an IPv4 address", 30, False)(text, m.start(2), (m[2],))
        at = m.end()
    else:
        out += build.wrong("{text}: not an IPv4 address", 30)(text, at, ())
    return at


RULES: dict[str, Callable[[str, int, list[Any], Any], int]] = {
    "default": _default,
    "fallback": _fallback,
    "timeout": _timeout,
    "title": _title,
    "password": _password,
    "savedefault": _savedefault,
    "root": _root,
    "rootnoverify": _root,
    "uuid": _uuid,
    "kernel": _kernel,
    "initrd": _initrd,
    "module": _module,
    "modulenounzip": _module,
    "chainloader": _chainloader,
    "configfile": _configfile,
    "cat": _configfile,
    "find": _configfile,
    "blocklist": _configfile,
    "testload": _configfile,
    "cmp": _cmp,
    "geometry": _geometry,
    "halt": _halt,
    "print": _title,
    "pause": _title,
    "color": _color,
    "pager": _pager,
    "terminal": _terminal,
    "help": _help,
    "dhcp": _dhcp,
    "bootp": _dhcp,
    "ifconfig": _ifconfig,
    "tftpserver": _tftpserver,
}
USAGE: dict[str, str] = {
    "default": "saved|NUMBER",
    "fallback": "[NUMBER]...",
    "timeout": "NUMBER",
    "title": "[TEXT]",
    "password": "[--md5] [--TYPE] [PASSWD [FILE]]",
    "savedefault": "[--default=NUMBER|--once]... [fallback|NUMBER]",
    "root": "[DEVICE [HDBIAS]]",
    "rootnoverify": "[DEVICE [HDBIAS]]",
    "uuid": "UUID",
    "kernel": "[--type=TYPE|--no-mem-option]... FILE [ARG...]",
    "initrd": "FILE",
    "module": "FILE [ARG...]",
    "modulenounzip": "FILE [ARG...]",
    "chainloader": "[--force] FILE",
    "configfile": "FILE",
    "cat": "FILE",
    "find": "FILE",
    "blocklist": "FILE",
    "testload": "FILE",
    "cmp": "FILE FILE",
    "geometry": "[DRIVE]",
    "halt": "[--no-apm]",
    "print": "[TEXT]",
    "pause": "[TEXT]",
    "color": "COLOR|NUMBER [COLOR|NUMBER]",
    "pager": "[on|off]",
    "terminal": "[--dumb|--no-echo|--no-edit|--silent|--timeout=SECS|--lines=N]... [console|serial|graphics|hercules|vga]...",
    "help": "[--all|PATTERN]...",
    "dhcp": "[--with-configfile]",
    "bootp": "[--with-configfile]",
    "ifconfig": "[--server=IP|--address=IP|--gateway=IP|--mask=IP]...",
    "tftpserver": "IP",
}
LITERALS: dict[str, tuple[str, ...]] = {
    "default": ("saved",),
    "password": ("--md",),
    "savedefault": ("--default=", "--once", "fallback"),
    "kernel": ("--type=", "--no-mem-option"),
    "chainloader": ("--force",),
    "halt": ("--no-apm",),
    "pager": ("on", "off"),
    "terminal": (
        "--dumb",
        "--no-echo",
        "--no-edit",
        "--silent",
        "--timeout=",
        "--lines=",
        "console",
        "serial",
        "graphics",
        "hercules",
        "vga",
    ),
    "help": ("--all",),
    "dhcp": ("--with-configfile",),
    "bootp": ("--with-configfile",),
    "ifconfig": ("--server=", "--address=", "--gateway=", "--mask="),
}
