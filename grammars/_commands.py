"""Made by tools/generate_parsers.py from grammars/commands.py: `make generate`."""

from __future__ import annotations

from grammars.source import Syntax

COMMANDS: dict[str, Syntax] = {
    "default": Syntax(
        "saved|NUMBER",
        ("saved",),
        r"(?> *+(?P<saved>(?>saved\Z))| *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))| *+(?P<no_number>(?>[\s\S]*)))",
    ),
    "fallback": Syntax(
        "[NUMBER]...",
        (),
        [r"(?> *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))(?>[^ ]*)| *+(?P<no_number>(?>[\s\S]+)))"],
    ),
    "timeout": Syntax(
        "NUMBER", (), r"(?> *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))| *+(?P<no_number>(?>[\s\S]*)))"
    ),
    "title": Syntax("[TEXT]", (), r" *+(?P<text>(?>[\s\S]+))"),
    "password": Syntax(
        "[--md5] [--TYPE] [PASSWD [FILE]]",
        ("--md5",),
        r"(?: *+(?P<md5>(?>--md5[^ ]*)))?+(?: *+(?P<unsupported>(?>--[^ ]*)))?+(?: *+(?P<password>(?>[^ ]+))(?: *+(?P<file>(?>[^ ]+)))?+)?+",
    ),
    "savedefault": Syntax(
        "[--default=NUMBER|--once]... [fallback|NUMBER]",
        ("--default=", "--once", "fallback"),
        r"(?: *+(?>--(?:default=|once)[^ ]*))*+(?:(?> *+(?>fallback *\Z)| *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))| *+(?P<no_entry>(?>[^ ]+))))?+",
    ),
    "root": Syntax("[DEVICE [HDBIAS]]", (), r" *+(?P<device>(?>[^ ]+))(?: *+(?P<bias>(?>[^ ]+)))?+"),
    "rootnoverify": Syntax("[DEVICE [HDBIAS]]", (), r" *+(?P<device>(?>[^ ]+))(?: *+(?P<bias>(?>[^ ]+)))?+"),
    "uuid": Syntax("UUID", (), r"(?> *+(?P<uuid>(?>[^ ]+))|(?P<no_uuid>))"),
    "kernel": Syntax(
        "[--type=TYPE|--no-mem-option]... FILE [ARG...]",
        ("--type=", "--no-mem-option"),
        [
            r"(?> *+(?P<no_type>(?>--type=(?!netbsd|freebsd|openbsd|linux|biglinux|multiboot)[^ ]*))| *+(?>--(?:type=|no-mem-option)[^ ]*))"
        ],
        r"(?> *+(?P<dashed_file>(?>-[^ ]*))| *+(?P<file>(?>[^ ]+))|(?P<no_file>))",
        r" *+(?P<rest>(?>[\s\S]+))",
    ),
    "initrd": Syntax(
        "FILE", (), r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))(?: *+(?P<second_file>(?>[^ ](?:[\s\S]*[^ ])?)))?+"
    ),
    "module": Syntax("FILE [ARG...]", (), r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))(?: *+(?P<rest>(?>[\s\S]+)))?+"),
    "modulenounzip": Syntax(
        "FILE [ARG...]", (), r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))(?: *+(?P<rest>(?>[\s\S]+)))?+"
    ),
    "chainloader": Syntax(
        "[--force] FILE", ("--force",), r"(?: *+(?>--(?:force)[^ ]*))?+(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))"
    ),
    "configfile": Syntax("FILE", (), r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))"),
    "cat": Syntax("FILE", (), r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))"),
    "find": Syntax("FILE", (), r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))"),
    "blocklist": Syntax("FILE", (), r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))"),
    "testload": Syntax("FILE", (), r"(?> *+(?P<file>(?>[^ ]+))|(?P<no_file>))"),
    "cmp": Syntax(
        "FILE FILE", (), r"(?> *+(?P<file>(?>[^ ]+))(?> *+(?P<second>(?>[^ ]+))|(?P<no_second_file>))|(?P<no_files>))"
    ),
    "geometry": Syntax("[DRIVE]", (), r" *+(?P<device>(?>[^ ]+))"),
    "halt": Syntax("[--no-apm]", ("--no-apm",), r" *+(?>--(?:no-apm)[^ ]*)"),
    "print": Syntax("[TEXT]", (), r" *+(?P<text>(?>[\s\S]+))"),
    "pause": Syntax("[TEXT]", (), r" *+(?P<text>(?>[\s\S]+))"),
    "color": Syntax(
        "COLOR|NUMBER [COLOR|NUMBER]",
        (),
        r"(?> *+(?P<color>(?>(?:blink-)?(?:black|blue|green|cyan|red|magenta|brown|light-gray|dark-gray|light-blue|light-green|light-cyan|light-red|light-magenta|yellow|white)/(?:black|blue|green|cyan|red|magenta|brown|light-gray)(?![^ ])))| *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))(?>[^ ]*)| *+(?P<no_color>(?>[^ ]*)))",
        r"(?> *+(?P<color>(?>(?:blink-)?(?:black|blue|green|cyan|red|magenta|brown|light-gray|dark-gray|light-blue|light-green|light-cyan|light-red|light-magenta|yellow|white)/(?:black|blue|green|cyan|red|magenta|brown|light-gray)(?![^ ])))| *+(?P<number>(?>0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+))(?>[^ ]*)| *+(?P<no_color>(?>[^ ]+)))",
    ),
    "pager": Syntax(
        "[on|off]", ("on", "off"), r"(?> *+(?P<switch>(?>(?:on|off)(?![^ ])))| *+(?P<no_switch>(?>[^ ]+)))"
    ),
    "terminal": Syntax(
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
        [r" *+(?>--(?:dumb|no-echo|no-edit|silent|timeout=|lines=)[^ ]*)"],
        [r"(?> *+(?>(?:console|serial|graphics|hercules|vga)(?![^ ]))| *+(?P<no_terminal>(?>[^ ]+)))"],
    ),
    "help": Syntax("[--all|PATTERN]...", ("--all",), [r"(?> *+(?>--(?:all)[^ ]*)| *+(?P<pattern>(?>[^ ]+)))"]),
    "dhcp": Syntax("[--with-configfile]", ("--with-configfile",), r" *+(?P<configfile>(?>--with-configfile[^ ]*))"),
    "bootp": Syntax("[--with-configfile]", ("--with-configfile",), r" *+(?P<configfile>(?>--with-configfile[^ ]*))"),
    "ifconfig": Syntax(
        "[--server=IP|--address=IP|--gateway=IP|--mask=IP]...",
        ("--server=", "--address=", "--gateway=", "--mask="),
        [
            r"(?> *+(?P<server_option>(?>--server=(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ])))| *+(?>--(?:address|gateway|mask)=(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ]))| *+(?P<no_address>(?>--(?:address|gateway|mask|server)=[^ ]*))| *+(?P<no_option>(?>[^ ]+)))"
        ],
    ),
    "tftpserver": Syntax(
        "IP",
        (),
        r"(?> *+(?P<server>(?>(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?![^ ])))| *+(?P<no_address>(?>[^ ]*)))",
    ),
}
