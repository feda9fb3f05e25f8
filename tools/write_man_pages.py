"""Write docs/man/*.1 from the pages of docs/reference that describe the programs (`make generate`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = {  # program: its page and what stands under NAME
    "pvboot": ("command-line.md", "boot Xen paravirtual guests from their own disk or network"),
    "pvboot-pygrub": ("pvboot-pygrub.md", "boot loader for xl and libxl, in place of pygrub"),
    "pvboot-netboot": ("pvboot-netboot.md", "boot loader for xl and libxl that fetches kernel and ramdisk"),
}
SEE_ALSO = "pvboot(1), pvboot-pygrub(1), pvboot-netboot(1), grub(8), xl(1), xl.cfg(5)"
_MARKUP = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|\[([^]]+)\]\([^)]+\)")
_PARAGRAPH = re.compile(r"\n{2,}")


TROFF = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "^": "\\(ha", "~": "\\(ti", "…": "..."})


def plain(text: str) -> str:
    """Text as troff takes it literally."""
    return re.sub(r"^\.", r"\\&.", text.translate(TROFF), flags=re.MULTILINE)


def inline(text: str) -> str:
    """A paragraph's text: code and emphasis are bold, of a link its text stays."""
    done, out = 0, []
    for match in _MARKUP.finditer(text.replace("\\|", "|")):
        out.append(plain(match.string[done : match.start()]))
        code, bold, link = match.groups()
        out.append(inline(link) if link else f"\\fB{plain(code or bold)}\\fR")
        done = match.end()
    return "".join(out) + plain(text.replace("\\|", "|")[done:])


def blocks(page: str) -> Iterator[str]:
    """Each paragraph, table, list item and piece of code as man(7) macros."""
    for block in _PARAGRAPH.split(page.strip()):
        if title := re.match(r"(#+) (.*)", block):
            macro, name = (".SH", title[2].upper()) if len(title[1]) == 2 else (".SS", title[2])
            yield f'{macro} "{plain(name)}"'
        elif block.startswith("|"):
            for row in block.splitlines()[2:]:
                first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|")))
                yield f".TP\n{inline(first)}\n" + inline("; ".join(filter(None, others)))
        elif block.startswith("- "):
            for item in re.split(r"^- ", block, flags=re.MULTILINE)[1:]:
                yield ".IP \\(bu 2\n" + inline(re.sub(r"\n +", "\n", item.strip()))
        elif block.startswith("    "):
            yield ".PP\n.EX\n" + plain(re.sub(r"^ {4}", "", block, flags=re.MULTILINE)) + "\n.EE"
        else:
            yield ".PP\n" + inline(block)


def man_page(program: str) -> str:
    """The page of a program."""
    name, purpose = PAGES[program]
    page = (REPOSITORY / "docs/reference" / name).read_text()
    _title, synopsis, text = re.sub(r"\s\(\[how-to\]\([^)]*\)\)", "", page).split("\n\n", 2)
    return "\n".join(
        [
            f'.TH {plain(program.upper())} 1 "" "pvboot" "User Commands"',
            f'.\\" Made from docs/reference/{name} by make generate; do not edit.',
            f".SH NAME\n{plain(program)} \\- {plain(purpose)}",
            f".SH SYNOPSIS\n{inline('`' + synopsis.strip() + '`')}\n.SH DESCRIPTION",
            *blocks(text),
            f".SH SEE ALSO\n{plain(SEE_ALSO)}\n",
        ]
    )


def main() -> None:
    for program in PAGES:
        (REPOSITORY / f"docs/man/{program}.1").write_text(man_page(program))


if __name__ == "__main__":
    main()
