"""Passwords and their hashes are in no finding and no report."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pvboot.check.engine import check_source
from pvboot.check.html_report import html_report
from pvboot.check.masking import mask_line, mask_message
from pvboot.check.report import FORMATS, ReportSettings, reporter
from tests.check.rows import ENTRY

HASH = "$1$pepper$1uH7VtW0tS3m9xyOBKXMX"
PBKDF2 = "grub.pbkdf2.sha512.10000.0F3A9C.77AB12"
ENTRY_2 = "menuentry 'A' {\n linux /k root=/dev/xvda1\n}\n"
# Each has a finding at the line of the password.
MENUS = {
    "hash": ("menu.lst", f"password --md5 {HASH}\n{ENTRY}", HASH),
    "unknown kind": ("menu.lst", f"password --sha {HASH}\n{ENTRY}", HASH),
    "twice": ("menu.lst", f"password hunter2hunter2\npassword hunter2hunter3\n{ENTRY}", "hunter2"),
    "in an entry": ("menu.lst", f"{ENTRY}password --md5 {HASH}\n", HASH),
    "in a comment": ("menu.lst", f"# password --md5 {HASH} \x01\n{ENTRY}", HASH),
    "control character": ("menu.lst", f"password hunter2\x01hunter2\n{ENTRY}", "hunter2"),
    "GRUB 2": ("grub.cfg", f"password_pbkdf2 root {PBKDF2}\r\n{ENTRY_2}", PBKDF2),
    "GRUB 2, plain": ("grub.cfg", f"if true; then password root hunter2 \x01; fi\n{ENTRY_2}", "hunter2"),
    "syslinux": ("extlinux.conf", f"MENU MASTER PASSWD {HASH}\r\nLABEL a\nKERNEL /k\nAPPEND root=/dev/xvda1\n", HASH),
    "elilo": ("elilo.conf", "password = hunter2hunter2\r\nimage=/k\nlabel=a\n", "hunter2"),
}


@pytest.mark.parametrize("name", MENUS)
def test_no_report_has_the_secret(name: str, tmp_path: Path) -> None:
    file, text, secret = MENUS[name]
    (tmp_path / file).write_bytes(text.encode())
    result = check_source(str(tmp_path / file))
    line = next(number for number, line in enumerate(text.split("\n"), 1) if secret in line)
    assert line in {finding.line for finding in result.findings}
    stream = io.StringIO()
    for form in FORMATS:
        writer = reporter(form, stream, ReportSettings())
        writer.add(result)
        writer.end()
    assert secret not in stream.getvalue() + html_report([result]) + repr(result)
    assert "***" in result.excerpts[str(tmp_path / file), line]


@pytest.mark.parametrize(
    ("dialect", "line", "shown"),
    [
        ("menu.lst", "password --md5 abc /x", "password --md5 *** /x"),
        ("menu.lst", "password=abc", "password=***"),
        ("menu.lst", "password", "password"),
        ("menu.lst", "passwords abc", "passwords abc"),
        ("grub.cfg", "\tpassword root abc; x", "\tpassword root ***; x"),
        ("extlinux", "menu passwd abc", "menu passwd ***"),
        ("bls", "password abc", "password abc"),
    ],
)
def test_a_line_keeps_its_length(dialect: str, line: str, shown: str) -> None:
    assert mask_line(dialect, line) == shown


@pytest.mark.parametrize(
    ("message", "shown"), [("'0123456789' is bad", "'******' is bad"), ("'01234567...", "'******..."), ("'01'", "'01'")]
)
def test_a_message_that_cuts_a_secret(message: str, shown: str) -> None:
    assert mask_message("menu.lst", "password 0123456789", message) == shown
