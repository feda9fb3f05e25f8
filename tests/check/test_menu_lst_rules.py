"""Each rule about menu.lst: menus that break it, with the place that is pointed to, and menus that nearly do.

A row is (rule, menu, [(line, column, end column, severity)]); an empty list means that the rule must be silent.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.check.rows import BOOTS, ENTRY, HEAD, LINUX, found, target

TWO = HEAD + ENTRY + f"title Old\n{BOOTS}"
HASH = "$1$gLhU0/$aW78kHK1QfV3P2b2znUoe/"
THREE = TWO + f"title Older\n{BOOTS}"


def head(*lines: str, menu: str = THREE) -> str:
    """`menu` with further lines in front; the first is line 1."""
    return "".join(f"{line}\n" for line in lines) + menu


def entry(*lines: str) -> str:
    """A menu with one entry; its title is line 3, its first command line 4."""
    return HEAD + "title Linux\n" + "".join(f"{line}\n" for line in lines)


ROWS = [
    # --- words
    ("grub2-syntax", entry("root (hd0,0)", "linux /vmlinuz root=/dev/xvda1"), [(5, 1, 6, "error")]),
    ("grub2-syntax", entry(*BOOTS.splitlines(), "}"), [(6, 1, 2, "error")]),
    ("grub2-syntax", "menuentry 'A' {\n linux /vmlinuz\n}\nmenuentry 'B' {\n}\n", [(1, 1, 16, "error")]),
    ("grub2-syntax", "set default=0\n" + LINUX, [(1, 1, 4, "error")]),
    ("grub2-syntax", entry("insmod ext2", *BOOTS.splitlines()), [(4, 1, 7, "warning")]),
    ("grub2-syntax", LINUX + "title set default menuentry { }\nhalt\n", []),
    ("grub2-syntax", entry("root (hd0,0)", "kernel /k root=x set=linux }"), []),
    ("unknown-command", "Default 1\n" + TWO, [(1, 1, 8, "error")]),
    ("unknown-command", HEAD + f"Title Linux\n{BOOTS}title B\n{BOOTS}", [(3, 1, 6, "error")]),
    ("unknown-command", entry("root (hd0,0)", "kernal /x"), [(5, 1, 7, "error")]),
    ("unknown-command", entry(*BOOTS.splitlines(), "zzyzx"), [(6, 1, 6, "warning")]),
    ("unknown-command", "gfxmenu (hd0,0)/message\n" + LINUX, [(1, 1, 8, "note")]),
    ("unknown-command", "= 5\n" + LINUX, [(1, 1, 1, "warning")]),
    ("unknown-command", "  # Kernel /x\n\t\n" + LINUX, []),
    ("unknown-command", "splashimage=(hd0,0)/grub/splash.xpm.gz\nserial --unit=0\nshade 1\n" + LINUX, []),
    ("unknown-command", entry("uuid 1234-ABCD", "kernel /vmlinuz root=/dev/xvda1", "quiet"), []),
    ("command-not-allowed-here", "root (hd0,0)\n" + LINUX, [(1, 1, 5, "warning")]),
    ("command-not-allowed-here", entry("default 0", *BOOTS.splitlines()), [(4, 1, 8, "error")]),
    ("command-not-allowed-here", "password x\ncolor cyan/blue\nterminal console\n" + LINUX, []),
    ("command-not-allowed-here", entry("password x", "color cyan/blue", *BOOTS.splitlines()), []),
    # --- arguments
    ("bad-argument", entry("root (hd0,0)", "kernel"), [(5, 1, 7, "error")]),
    ("bad-argument", entry("root (hd0,0)", "kernel --no-mem-option --type=foo /x"), [(5, 8, 37, "error")]),
    ("bad-argument", entry("root (hd0,0)", "kernel --debug /x"), [(5, 8, 18, "error")]),
    ("bad-argument", entry("root (hd0,0)", "kernel --type=linux"), [(5, 8, 20, "error")]),
    ("bad-argument", entry(*BOOTS.splitlines(), "initrd /ucode.img /initrd"), [(6, 8, 26, "warning")]),
    ("bad-argument", entry(*BOOTS.splitlines(), "initrd"), [(6, 1, 7, "error")]),
    ("bad-argument", entry("terminal console vt100", *BOOTS.splitlines()), [(4, 10, 23, "error")]),
    ("bad-argument", "terminal tty\n" + LINUX, [(1, 10, 13, "warning")]),
    ("bad-argument", "pager yes\n" + LINUX, [(1, 7, 10, "warning")]),
    ("bad-argument", entry(*BOOTS.splitlines(), "savedefault now"), [(6, 13, 16, "error")]),
    ("bad-argument", "ifconfig --address=10.0.0.300\n" + LINUX, [(1, 10, 30, "warning")]),
    ("bad-argument", "ifconfig 10.0.0.3\ntftpserver nas\n" + LINUX, [(1, 10, 18, "warning"), (2, 12, 15, "warning")]),
    ("bad-argument", entry("uuid", "kernel /vmlinuz root=x"), [(4, 1, 5, "error")]),
    ("bad-argument", entry("root (hd0,0)", "kernel --type=linux --no-mem-option /x --type=y"), []),
    ("bad-argument", entry("root (hd0,0)", "kernel --type=linux-2.6 /x root=y"), []),  # only the beginning is compared
    ("bad-argument", entry(*BOOTS.splitlines(), "initrd /initrd  "), []),
    ("bad-argument", entry(*BOOTS.splitlines(), "savedefault", "savedefault fallback", "savedefault 1"), []),
    ("bad-argument", entry(*BOOTS.splitlines(), "savedefault --default=2 --once"), []),  # Debian's and Red Hat's
    ("bad-argument", "terminal --timeout=10 serial console\npager on\nhiddenmenu yes\n" + LINUX, []),
    ("bad-argument", "ifconfig --address=10.0.0.3 --server=10.0.0.1\ntftpserver 10.0.0.1\n" + LINUX, []),
    ("bad-argument", "kernel\n" + LINUX, []),  # not run there: command-not-allowed-here
    # --- whole lines
    ("line-too-long", entry("root (hd0,0)", "kernel /x " + "y" * 1500), [(5, 1, 7, "error")]),
    ("line-too-long", "zzyzx " + "y" * 1500 + "\n" + LINUX, [(1, 1, 6, "warning")]),
    ("line-too-long", "# " + "y" * 3000 + "\n" + LINUX, []),
    ("line-too-long", entry("root (hd0,0)", "kernel /x " + "y" * 1490), []),
    ("suspicious-continuation", "# a comment \\\ndefault 0\n" + LINUX, [(1, 13, 14, "error")]),
    ("suspicious-continuation", "# a comment \\\nmore of it\n" + LINUX, [(1, 13, 14, "warning")]),
    ("suspicious-continuation", entry("root (hd0,0)", "kernel /x root=y \\", "initrd /i"), [(5, 18, 19, "error")]),
    ("suspicious-continuation", entry("root (hd0,0)", "kernel /x root=y \\ ", "  ro"), [(5, 18, 20, "warning")]),
    ("suspicious-continuation", entry("root (hd0,0)", "kernel /x root=y \\", "", "boot"), [(5, 18, 19, "note")]),
    ("suspicious-continuation", entry("root (hd0,0)", "kernel /x root=y \\")[:-1], [(5, 18, 19, "warning")]),
    ("suspicious-continuation", entry("root (hd0,0)", "kernel /x \\", "  root=/dev/xvda1 \\", "  ro"), []),
    ("suspicious-continuation", entry("root (hd0,0)", "kernel /x \\\r", "  root=/dev/xvda1"), []),
    ("suspicious-continuation", "# one \\\n# two \\\n# three\n" + LINUX, []),
    ("suspicious-continuation", entry("root (hd0,0)", "kernel /x root=y a=\\b c\\d"), []),
    ("suspicious-continuation", "# ends in a path C:\\ \n" + LINUX, []),
    ("tab-separator", entry("root (hd0,0)", "kernel\t/vmlinuz\troot=/dev/xvda1"), [(5, 8, 32, "warning")]),
    ("tab-separator", entry("root (hd0,0)", "kernel\t/vmlinuz\troot=/dev/xvda1 ro"), []),
    ("tab-separator", entry("\troot\t(hd0,0)", "\tkernel\t\t/vmlinuz root=/dev/xvda1"), []),
    ("tab-separator", entry("root (hd0,0)", "kernel\t/vmlinuz\t"), []),
    ("quoted-file-name", entry("root (hd0,0)", "kernel '/vmlinuz' root=x"), [(5, 8, 25, "error")]),
    ("quoted-file-name", 'timeout "5"\n' + ENTRY, [(1, 9, 12, "error")]),
    ("quoted-file-name", entry("root (hd0,0)", 'kernel /vmlinuz root="LABEL=x"'), []),
    ("quoted-file-name", LINUX + 'title "quoted"\nhalt\n', []),
    # --- the head
    ("default-not-a-number", head("default Old"), [(1, 9, 12, "error")]),
    ("default-not-a-number", head("default"), [(1, 1, 8, "error")]),
    ("default-not-a-number", head("default -1"), [(1, 9, 11, "error")]),
    ("default-not-a-number", head("default saved "), [(1, 9, 15, "error")]),
    ("default-not-a-number", head("default 1st"), [(1, 9, 12, "warning")]),
    ("default-not-a-number", head("default 99999999999"), [(1, 9, 20, "error")]),
    ("default-not-a-number", head("default saved", "default=1", "default = 0x2", "default 1 "), []),
    ("default-out-of-range", TWO.replace("default 0", "default 2"), [(1, 9, 10, "error")]),
    ("default-out-of-range", TWO.replace("default 0", "default 1"), []),
    ("default-out-of-range", "default 7\n" + TWO, []),  # a later line counts
    ("default-out-of-range", "default 7\n", []),  # no-entries
    ("fallback-out-of-range", head("fallback 1 3"), [(1, 10, 13, "warning")]),
    ("fallback-out-of-range", head("fallback 1 2"), []),
    ("fallback-duplicate", head("fallback 1 1 2"), [(1, 10, 15, "error")]),
    ("fallback-duplicate", head("fallback 1 2 1"), [(1, 10, 15, "warning")]),
    ("fallback-duplicate", head("fallback 1 2", "fallback 2 1"), []),
    ("fallback-not-a-number", head("fallback one"), [(1, 10, 13, "warning")]),
    ("fallback-not-a-number", head("fallback 1,2"), [(1, 10, 13, "warning")]),
    ("fallback-not-a-number", head("fallback"), [(1, 1, 9, "warning")]),
    ("fallback-not-a-number", head("fallback=1  0x2 "), []),
    ("unreachable-fallback", head("fallback 1 0"), [(1, 10, 13, "warning")]),
    ("unreachable-fallback", head("fallback 1 2"), []),
    ("unreachable-fallback", f"timeout 0\nfallback 0\n{ENTRY}", []),  # one entry: nothing else could be meant
    ("unreachable-fallback", THREE.replace("default 0", "default saved\nfallback 0"), []),
    ("timeout-not-a-number", "timeout ten\n" + ENTRY, [(1, 9, 12, "error")]),
    ("timeout-not-a-number", "timeout\n" + ENTRY, [(1, 1, 8, "error")]),
    ("timeout-not-a-number", "timeout -1\n" + ENTRY, [(1, 9, 11, "warning")]),
    ("timeout-not-a-number", "timeout 5s\n" + ENTRY, [(1, 9, 11, "warning")]),
    ("timeout-not-a-number", "timeout\t\t5 \n" + ENTRY, []),
    ("timeout-not-a-number", "timeout=0x5\n" + ENTRY, []),
    ("bad-color", "color orange/blue\n" + LINUX, [(1, 7, 18, "warning")]),
    ("bad-color", "color white/blue white/yellow\n" + LINUX, [(1, 18, 30, "warning")]),
    ("bad-color", entry("color White/blue", *BOOTS.splitlines()), [(4, 7, 17, "error")]),
    ("bad-color", "color blink-light-gray/black 0x1f\n" + LINUX, []),
    ("bad-color", "color white/blue black/light-gray extra\n" + LINUX, []),
    ("bad-password-hash", "password --md5 secret\n" + LINUX, [(1, 10, 22, "error")]),
    ("bad-password-hash", "password --md5 $6$gLhU0/$aW78kHK1QfV3P2b2znUoe/\n" + LINUX, [(1, 10, 48, "error")]),
    ("bad-password-hash", "password --md5 $1$gLhU0/$aW78kHK1QfV3P2b2znUoe\n" + LINUX, [(1, 10, 47, "error")]),
    ("bad-password-hash", "password --md5 $1$gLhU0/$aW78kHK1QfV3P2b2znUoe/ /boot/grub/admin.lst\n" + LINUX, []),
    ("bad-password-hash", "password $1$ /x\n# password --md5 secret\n" + LINUX, []),
    ("password-type-unsupported", "password --encrypted $6$a$b\n" + LINUX, [(1, 10, 28, "warning")]),
    ("password-type-unsupported", f"password --md5 {HASH}\n{LINUX}", [(1, 10, 48, "note")]),
    ("password-type-unsupported", "password secret--md6\n" + LINUX, []),
    ("lock-without-password", entry("lock", *BOOTS.splitlines()), [(4, 1, 5, "warning")]),
    ("lock-without-password", "password x\n" + entry("lock", *BOOTS.splitlines()), []),
    # --- entries
    ("empty-entry", LINUX + "title A\ntitle B\nfoo\ntitle C\nboot\n", [(6, 1, 8, "warning"), (7, 1, 8, "warning")]),
    ("empty-entry", LINUX.replace("default 0", "default 1") + "title A\n", [(6, 1, 8, "error")]),
    ("empty-entry", LINUX + "title Other systems:\nroot\n", []),
    ("unreachable-command", entry(*BOOTS.splitlines(), "boot", "savedefault"), [(7, 1, 12, "warning")]),
    ("unreachable-command", entry("configfile (hd0,0)/x", "root (hd0,0)"), [(5, 1, 5, "warning")]),
    ("unreachable-command", entry(*BOOTS.splitlines(), "boot", "zzyzx"), []),
    ("unreachable-command", entry(*BOOTS.splitlines(), "savedefault", "boot") + f"title B\n{BOOTS}", []),
    ("initrd-before-kernel", entry("root (hd0,0)", "initrd /i", "kernel /k root=x"), [(5, 1, 7, "error")]),
    ("initrd-before-kernel", entry("root (hd0,0)", "module /i"), [(5, 1, 7, "error")]),
    ("initrd-before-kernel", entry(*BOOTS.splitlines(), "initrd /i"), []),
    ("initrd-before-kernel", entry("configfile (hd0,0)/x", "initrd /i"), []),
    ("overridden-command", "timeout 9\n" + LINUX, [(1, 1, 10, "warning")]),
    ("overridden-command", "timeout=5\n" + LINUX, [(1, 1, 10, "note")]),
    ("overridden-command", entry(*BOOTS.splitlines(), "initrd /ucode.img", "initrd /i"), [(6, 1, 18, "warning")]),
    ("overridden-command", entry(*BOOTS.splitlines(), "kernel /other root=x"), [(5, 1, 35, "warning")]),
    ("overridden-command", entry(*BOOTS.splitlines(), "initrd /i", "module /m"), [(6, 1, 10, "warning")]),
    ("overridden-command", entry(*BOOTS.splitlines(), "module /m", "initrd /i"), [(6, 1, 10, "warning")]),
    ("overridden-command", entry("root (hd0,1)", *BOOTS.splitlines()), [(4, 1, 13, "warning")]),
    ("overridden-command", entry("root (hd0,1)", "cat /motd", *BOOTS.splitlines()), []),
    ("overridden-command", entry(*BOOTS.splitlines(), "module /m", "module /n"), []),
    ("overridden-command", entry(*BOOTS.splitlines(), "boot", "kernel /other"), []),
    ("overridden-command", "color white/blue\ncolor cyan/blue\n" + TWO, []),
    ("unsupported-in-pv-guest", entry("root (hd0,0)", "chainloader +1"), [(5, 1, 15, "error")]),
    ("unsupported-in-pv-guest", LINUX + "title B\nchainloader (hd0,1)+1\n", [(7, 1, 22, "warning")]),
    ("unsupported-in-pv-guest", LINUX + "title B\nmap (hd0) (hd1)\nhalt\n", [(7, 1, 16, "warning")]),
    ("unsupported-in-pv-guest", "hide (hd0,1)\n" + LINUX, [(1, 1, 13, "warning")]),
    ("unsupported-in-pv-guest", entry("root (fd0)", "kernel /k root=x"), [(4, 6, 11, "error")]),
    ("unsupported-in-pv-guest", LINUX + "title B\nkernel (fd0)/k root=(fd0)\n", [(7, 8, 13, "warning")]),
    ("unsupported-in-pv-guest", "serial --unit=0 --speed=9600\nchainloader +1\n" + LINUX, []),
    ("unsupported-in-pv-guest", LINUX + "title B\nreboot\n", []),
    # --- devices and paths
    ("bad-device-syntax", entry("root hd0,0", "kernel /k root=x"), [(4, 6, 11, "error")]),
    ("bad-device-syntax", entry("root (hd0,0", "kernel /k root=x"), [(4, 6, 12, "error")]),
    ("bad-device-syntax", entry("root (hd8,0)", "kernel /k root=x"), [(4, 6, 13, "error")]),
    ("bad-device-syntax", entry("root (hd0,msdos1)", "kernel /k root=x"), [(4, 6, 18, "error")]),
    ("bad-device-syntax", entry("root (xvda,0)", "kernel /k root=x"), [(4, 6, 14, "error")]),
    ("bad-device-syntax", entry("root (hd0,0)", "kernel (sd0)/k root=x"), [(5, 8, 13, "error")]),
    ("bad-device-syntax", entry("root (hd0,0)", "kernel --type=linux (sd0)/k root=x"), [(5, 21, 26, "error")]),
    ("bad-device-syntax", entry("root (hd0,0,a) 1", "kernel (0x80,0)/k root=x"), []),
    ("bad-device-syntax", entry("root (hd0)", "kernel (,1)/k root=x", "initrd ()/i", "cat (nd)/x"), []),
    ("bad-device-syntax", entry("root (cd)", "kernel (hd1,)/k root=(hd9)"), []),
    ("bad-device-syntax", "root hd0\n" + LINUX, []),  # not run there
    ("relative-path", entry("root (hd0,0)", "kernel vmlinuz root=x"), [(5, 8, 15, "error")]),
    ("relative-path", entry("root (hd0,0)", "kernel (hd0,1)vmlinuz root=x"), [(5, 8, 22, "error")]),
    ("relative-path", entry("root (hd0,0)", "kernel --type=linux k root=x"), [(5, 21, 22, "error")]),
    ("relative-path", entry("root (hd0,0)", "kernel (hd0,1) root=x"), [(5, 8, 15, "error")]),
    ("relative-path", entry(*BOOTS.splitlines(), "initrd initrd.img"), [(6, 8, 18, "error")]),
    ("relative-path", entry("root (hd0,0)", "kernel (hd0,1)+17 root=x", "initrd 0+5,7+2"), []),
    ("relative-path", LINUX + "title B\nroot (hd0,1)\nchainloader --force +1\n", []),
    ("root-missing", entry("kernel /k root=x"), [(4, 8, 10, "warning")]),
    ("root-missing", LINUX + "title B\nkernel /k root=x\nroot (hd0,0)\n", [(7, 8, 10, "warning")]),
    ("root-missing", "root (hd0,0)\n" + entry("kernel /k root=x"), [(5, 8, 10, "warning")]),
    ("root-missing", entry("kernel (hd0,0)/k root=x", "initrd (hd0,0)/i"), []),
    ("root-missing", entry("uuid 12-34", "kernel /k root=x"), []),
    ("root-missing", entry("rootnoverify (hd0)", "kernel /k root=x"), []),
]


@pytest.mark.parametrize(("rule", "menu", "wanted"), ROWS)
def test_a_rule_finds_what_it_is_for_and_nothing_else(
    tmp_path: Path, rule: str, menu: str, wanted: list[tuple[int, int, int, str]]
) -> None:
    assert found(tmp_path, menu, rule) == wanted


def test_every_textual_rule_of_this_dialect_has_a_row_that_fires_and_one_that_does_not() -> None:
    from pvboot.check.api import RULES
    from pvboot.check.rules import load_rules

    load_rules()
    rules = {rule.id for rule in RULES.values() if rule.dialects == {"menu.lst"} and rule.needs == "text"}
    elsewhere = {"too-many-entries"}  # a menu that is too large to stand in a table
    assert rules - elsewhere <= {rule for rule, _menu, wanted in ROWS if wanted}
    assert rules - elsewhere <= {rule for rule, _menu, wanted in ROWS if not wanted}


@pytest.mark.parametrize(("count", "wanted"), [(800, False), (900, True)])
def test_titles_beyond_32_kib_are_too_many(tmp_path: Path, count: int, wanted: bool) -> None:
    menu = HEAD + "".join(f"title {number:039}\n{BOOTS}" for number in range(count))
    places = found(tmp_path, menu, "too-many-entries")
    assert bool(places) == wanted
    if wanted:
        assert places[0][0] == 3 + 3 * 819  # the 820th title ends at 820 * 40 bytes


@pytest.mark.parametrize(
    ("rule", "menu", "loader", "severity"),
    [
        ("root-missing", entry("kernel /k root=x"), "pv-grub", "error"),
        ("root-missing", entry("kernel /k root=x"), "pygrub", "warning"),
        ("root-missing", entry("uuid 12-34", "kernel /k root=x"), "pv-grub", "error"),
        ("tab-separator", entry("root (hd0,0)", "kernel /k\troot=x"), "pygrub", "error"),
        ("tab-separator", entry("root (hd0,0)", "kernel /k\troot=x"), "pv-grub", "warning"),
        ("command-not-allowed-here", entry("timeout 5", *BOOTS.splitlines()), "pygrub", "warning"),
        ("password-type-unsupported", "password --md5 x\n" + LINUX, "pv-grub", "error"),
        ("password-type-unsupported", "password --md5 x\n" + LINUX, "pygrub", None),
        ("encoding", HEAD.encode() + b"title caf\xe9\n" + BOOTS.encode(), "pygrub", "error"),
    ],
)
def test_a_target_decides_how_grave_it_is(
    tmp_path: Path, rule: str, menu: str | bytes, loader: str, severity: str | None
) -> None:
    wanted = [severity] if severity else []
    assert [place[3] for place in found(tmp_path, menu, rule, options=target(loader))] == wanted
