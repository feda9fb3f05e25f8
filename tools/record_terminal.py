#!/usr/bin/env python3
"""Record a program in a terminal as an animated SVG.

    record_terminal.py -o FILE [--keys TEXT=KEYS ...] -- COMMAND ...

The program runs in a pseudo terminal of its own; `--keys 'Use the=\\r'` types once the screen shows the text.  A frame
is kept whenever the screen has changed and then rests, so that the picture needs no exact clock.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from html import escape
from pathlib import Path

import pyte

COLUMNS, ROWS = 100, 24
REST_SECONDS = 0.25  # a screen that stands so long is a frame
FRAMES_LIMIT = 40
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8, 17, 12
COLOURS = {
    "black": "#1b1f24",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#56d4dd",
    "white": "#e6edf3",
}
PAPER, INK = "#0d1117", "#c9d1d9"

Frame = tuple[float, list[str]]  # seconds it is shown, one SVG fragment a row


def record(command: list[str], keys: list[tuple[str, str]], limit: float) -> list[Frame]:
    """Run `command` and return what its screen showed; it is ended after `limit` seconds."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    child, fd = pty.fork()
    if not child:
        os.environ.update(TERM="xterm-256color", LINES=str(ROWS), COLUMNS=str(COLUMNS))
        os.execvp(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    frames: list[Frame] = []
    deadline = time.monotonic() + limit
    try:
        while time.monotonic() < deadline:
            ready = select.select([fd], [], [], REST_SECONDS)[0]
            data = _read(fd) if ready else b""
            stream.feed(data)
            if data:
                continue
            _keep(frames, screen)
            if ready:
                break
            if keys and any(keys[0][0] in line for line in screen.display):
                os.write(fd, keys.pop(0)[1].encode())
    finally:
        os.close(fd)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    while len(frames) > FRAMES_LIMIT:  # thin out the middle: beginning and end tell the story
        frames[4:-8] = frames[4:-8:2]
    return frames


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def _keep(frames: list[Frame], screen: pyte.Screen) -> None:
    """Add the screen as it is, or show the last frame for longer if nothing has changed."""
    rows = [_row(screen, number) for number in range(ROWS)]
    if frames and frames[-1][1] == rows:
        frames[-1] = (min(frames[-1][0] + REST_SECONDS, 2.0), rows)
    elif any(rows):
        frames.append((0.5, rows))


def _row(screen: pyte.Screen, number: int) -> str:
    """A row's text, one `tspan` for each stretch of one colour."""
    line = screen.buffer[number]
    cells = [line[column] for column in range(COLUMNS)]
    while cells and cells[-1].data == " " and not cells[-1].reverse:
        cells.pop()
    stretches: list[tuple[tuple[str, str, bool], int, str]] = []
    for column, cell in enumerate(cells):
        ink, paper = COLOURS.get(cell.fg, INK), COLOURS.get(cell.bg, "")
        style = (PAPER, INK, cell.bold) if cell.reverse else (ink, paper, cell.bold)
        if stretches and stretches[-1][0] == style:
            stretches[-1] = (style, stretches[-1][1], stretches[-1][2] + cell.data)
        else:
            stretches.append((style, column, cell.data))
    top = MARGIN + number * CELL_HEIGHT
    parts = []
    for (ink, paper, bold), column, text in stretches:
        left, width = MARGIN + column * CELL_WIDTH, len(text) * CELL_WIDTH
        if paper:
            parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{CELL_HEIGHT}" fill="{paper}"/>')
        if text.strip():
            weight = ' font-weight="bold"' if bold else ""
            fill = "" if ink == INK else f' fill="{ink}"'
            place = f'x="{left}" y="{top + 13}" textLength="{width}"'
            parts.append(f"<text {place}{fill}{weight}>{escape(text)}</text>")
    return "".join(parts)


def draw(frames: list[Frame], title: str) -> str:
    """The SVG: each row is drawn once for as long as it stays the same."""
    total = sum(seconds for seconds, _ in frames) + 3.0  # the end stays for a moment
    begins = [sum(seconds for seconds, _ in frames[:index]) for index in range(len(frames))]
    width, height = 2 * MARGIN + COLUMNS * CELL_WIDTH, 2 * MARGIN + ROWS * CELL_HEIGHT
    styles, groups = [], []
    for number in range(ROWS):
        start = 0
        for index in range(1, len(frames) + 1):
            if index < len(frames) and frames[index][1][number] == frames[start][1][number]:
                continue
            if row := frames[start][1][number]:
                end = begins[index] if index < len(frames) else total
                groups.append(_shown(row, begins[start] / total * 100, end / total * 100, len(groups), styles))
            start = index
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" fill="{INK}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>text{{font:14px monospace;white-space:pre}}"
        f"g{{animation:{total:.2f}s step-end infinite}}{''.join(styles)}</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>\n' + "\n".join(groups) + "\n</svg>\n"
    )


def _shown(row: str, begin: float, end: float, number: int, styles: list[str]) -> str:
    """A row that can be seen from `begin` to `end`, in percent of the whole."""
    if begin <= 0 and end >= 100:
        return f"<g>{row}</g>"
    before = "0%{visibility:hidden}" if begin > 0 else ""
    after = f"{end:.2f}%,100%{{visibility:hidden}}" if end < 100 else ""
    styles.append(f"@keyframes r{number}{{{before}{begin:.2f}%{{visibility:visible}}{after}}}")
    return f'<g style="animation-name:r{number}">{row}</g>'


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--keys", action="append", default=[], metavar="TEXT=KEYS", help="type KEYS when TEXT is shown")
    parser.add_argument("--limit", type=float, default=120, metavar="SECONDS")
    parser.add_argument("--title", default="")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    keys = [text.partition("=")[::2] for text in options.keys]
    frames = record(
        options.command, [(text, codecs.decode(key, "unicode_escape")) for text, key in keys], options.limit
    )
    if not frames:
        print("record_terminal: the program showed nothing", file=sys.stderr)
        return 1
    options.output.write_text(draw(frames, options.title or " ".join(options.command)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
