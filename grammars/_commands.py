"""Made by tools/generate_parsers.py from grammars/commands.py: `make generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grammars.source import act, acts, compiler

_compiled = compiler(globals())
_match0 = _compiled(
    r"(?> *+(?P<saved>(?>saved\Z))| *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))| *+(?P<no_number>(?>[\s\S]+)))"
)
_match1 = _compiled(r"(?> *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))(?>[^ ]*)| *+(?P<no_number>(?>[\s\S]+)))")
_match2 = _compiled(r"(?> *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))| *+(?P<no_number>(?>[\s\S]+)))")
_match3 = _compiled(r" *+((?>[\s\S]+))")
_match4 = _compiled(
    r"(?: *+(?P<md5>(?>--md5[^ ]*)))?+(?: *+(?P<unsupported>(?>--[^ ]*)))?+(?: *+(?P<password>(?>[^ ]+))(?: *+(?P<file>(?>[^ ]+)))?+)?+"
)
_match5 = _compiled(
    r"(?: *+(?>--(?:default=|once)[^ ]*))*+(?:(?> *+(?>fallback *\Z)| *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))| *+(?P<no_entry>(?>[^ ]+))))?+"
)
_match6 = _compiled(r" *+(?P<device>(?>[^ ]+))(?: *+(?P<bias>(?>[^ ]+)))?+")
_match7 = _compiled(r"(?> *+(?P<uuid>(?>[^ ]+))|(?P<no_uuid>))")
_match8 = _compiled(
    r"(?> *+(?P<no_type>(?>--type=(?!netbsd|freebsd|openbsd|linux|biglinux|multiboot)[^ ]*))| *+(?>--(?:type=|no-mem-option)[^ ]*))"
)
_match9 = _compiled(
    r"(?> *+(?P<dashed_file>(?>-[^ ]*))| *+(?P<file>(?>[^ ]+))|(?P<no_file>))(?: *+(?P<rest>(?>[\s\S]+)))?+"
)
_match10 = _compiled(r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))(?: *+(?P<second_file>(?>[^ ](?:[\s\S]*[^ ])?)))?+")
_match11 = _compiled(r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))(?: *+(?P<rest>(?>[\s\S]+)))?+")
_match12 = _compiled(r"(?: *+(?>--(?:force)[^ ]*))?+(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))")
_match13 = _compiled(r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))")
_match14 = _compiled(r" *+(?P<file>(?>[^ ]+))(?> *+(?P<second>(?>[^ ]+))|(?P<no_second_file>))")
_match15 = _compiled(r" *+((?>[^ ]+))")
_match16 = _compiled(r" *+(?>--(?:no-apm)[^ ]*)")
_match17 = _compiled(
    r"(?> *+(?P<color>(?>(?:blink-)?(?:black|blue|green|cyan|red|magenta|brown|light-gray|dark-gray|light-blue|light-green|light-cyan|light-red|light-magenta|yellow|white)/(?:black|blue|green|cyan|red|magenta|brown|light-gray)(?![^ ])))| *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))(?>[^ ]*)| *+(?P<no_color>(?>[^ ]+)))"
)
_match18 = _compiled(r"(?> *+(?P<switch>(?>(?:on|off)(?![^ ])))| *+(?P<no_switch>(?>[^ ]+)))")
_match19 = _compiled(r"(?: *+(?>--(?:dumb|no-echo|no-edit|silent|timeout=|lines=)[^ ]*))*+")
_match20 = _compiled(r"(?> *+(?>(?:console|serial|graphics|hercules|vga)(?![^ ]))| *+(?P<no_terminal>(?>[^ ]+)))")
_match21 = _compiled(r"(?> *+(?>--(?:all)[^ ]*)| *+(?P<pattern>(?>[^ ]+)))")
_match22 = _compiled(r" *+((?>--with-configfile[^ ]*))")
_match23 = _compiled(
    r"(?> *+(?P<server_option>(?>--server=(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ])))| *+(?>--(?:address|gateway|mask)=(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ]))| *+(?P<no_address>(?>--(?:address|gateway|mask|server)=[^ ]*))| *+(?P<no_option>(?>[^ ]+)))"
)
_match24 = _compiled(
    r"(?> *+(?P<server>(?>(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ])))| *+(?P<no_address>(?>[^ ]+)))"
)


def _default(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match0(text, at):
        out += act(m, build)
        at = m.end()
    else:
        out += build.no_number(text, at, ())
    return at


def _fallback(text: str, at: int, out: list[Any], build: Any) -> int:
    while m := _match1(text, at):
        out += acts(m, build)
        at = m.end()
    return at


def _timeout(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match2(text, at):
        out += act(m, build)
        at = m.end()
    else:
        out += build.no_number(text, at, ())
    return at


def _title(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match3(text, at):
        out += build.text(text, m.start(1), (m[1],))
        at = m.end()
    return at


def _password(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match4(text, at)):
        return -1
    out += acts(m, build)
    return m.end()


def _savedefault(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match5(text, at)):
        return -1
    out += acts(m, build)
    return m.end()


def _root(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match6(text, at):
        out += acts(m, build)
        at = m.end()
    return at


def _uuid(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match7(text, at)):
        return -1
    out += acts(m, build)
    return m.end()


def _kernel(text: str, at: int, out: list[Any], build: Any) -> int:
    size = len(out)
    while m := _match8(text, at):
        out += acts(m, build)
        at = m.end()
    if not (m := _match9(text, at)):
        del out[size:]
        return -1
    out += acts(m, build)
    return m.end()


def _initrd(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match10(text, at)):
        return -1
    out += acts(m, build)
    return m.end()


def _module(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match11(text, at)):
        return -1
    out += acts(m, build)
    return m.end()


def _chainloader(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match12(text, at)):
        return -1
    out += acts(m, build)
    return m.end()


def _configfile(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match13(text, at)):
        return -1
    out += acts(m, build)
    return m.end()


def _cmp(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match14(text, at):
        out += acts(m, build)
        at = m.end()
    else:
        out += build.no_second_file(text, at, ())
    return at


def _geometry(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match15(text, at):
        out += build.device(text, m.start(1), (m[1],))
        at = m.end()
    return at


def _halt(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match16(text, at):
        at = m.end()
    return at


def _color(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match17(text, at):
        out += acts(m, build)
        at = m.end()
    else:
        out += build.no_color(text, at, ())
    if m := _match17(text, at):
        out += acts(m, build)
        at = m.end()
    return at


def _pager(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match18(text, at):
        out += act(m, build)
        at = m.end()
    return at


def _terminal(text: str, at: int, out: list[Any], build: Any) -> int:
    if not (m := _match19(text, at)):
        return -1
    at = m.end()
    while m := _match20(text, at):
        out += acts(m, build)
        at = m.end()
    return at


def _help(text: str, at: int, out: list[Any], build: Any) -> int:
    while m := _match21(text, at):
        out += acts(m, build)
        at = m.end()
    return at


def _dhcp(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match22(text, at):
        out += build.configfile(text, m.start(1), (m[1],))
        at = m.end()
    return at


def _ifconfig(text: str, at: int, out: list[Any], build: Any) -> int:
    while m := _match23(text, at):
        out += acts(m, build)
        at = m.end()
    return at


def _tftpserver(text: str, at: int, out: list[Any], build: Any) -> int:
    if m := _match24(text, at):
        out += act(m, build)
        at = m.end()
    else:
        out += build.no_address(text, at, ())
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
USAGE: dict[str, tuple[str, tuple[str, ...]]] = {
    "default": ("saved|NUMBER", ("saved",)),
    "fallback": ("[NUMBER]...", ()),
    "timeout": ("NUMBER", ()),
    "title": ("[TEXT]", ()),
    "password": ("[--md5] [--TYPE] [PASSWD [FILE]]", ("--md5",)),
    "savedefault": ("[--default=NUMBER|--once]... [fallback|NUMBER]", ("--default=", "--once", "fallback")),
    "root": ("[DEVICE [HDBIAS]]", ()),
    "rootnoverify": ("[DEVICE [HDBIAS]]", ()),
    "uuid": ("UUID", ()),
    "kernel": ("[--type=TYPE|--no-mem-option]... FILE [ARG...]", ("--type=", "--no-mem-option")),
    "initrd": ("FILE", ()),
    "module": ("FILE [ARG...]", ()),
    "modulenounzip": ("FILE [ARG...]", ()),
    "chainloader": ("[--force] FILE", ("--force",)),
    "configfile": ("FILE", ()),
    "cat": ("FILE", ()),
    "find": ("FILE", ()),
    "blocklist": ("FILE", ()),
    "testload": ("FILE", ()),
    "cmp": ("FILE FILE", ()),
    "geometry": ("[DRIVE]", ()),
    "halt": ("[--no-apm]", ("--no-apm",)),
    "print": ("[TEXT]", ()),
    "pause": ("[TEXT]", ()),
    "color": ("COLOR|NUMBER [COLOR|NUMBER]", ()),
    "pager": ("[on|off]", ("on", "off")),
    "terminal": (
        "[--dumb|--no-echo|--no-edit|--silent|--timeout=SECS|--lines=N]... [console|serial|graphics|hercules|vga]...",
        (
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
    ),
    "help": ("[--all|PATTERN]...", ("--all",)),
    "dhcp": ("[--with-configfile]", ("--with-configfile",)),
    "bootp": ("[--with-configfile]", ("--with-configfile",)),
    "ifconfig": (
        "[--server=IP|--address=IP|--gateway=IP|--mask=IP]...",
        ("--server=", "--address=", "--gateway=", "--mask="),
    ),
    "tftpserver": ("IP", ()),
}
