#!/usr/bin/env python3
"""Record a program in a terminal as an animated SVG.

    record_terminal.py -o FILE [--keys TEXT=KEYS ...] -- COMMAND ...

The program runs in a pseudo terminal of its own; `--keys 'Use the=\\r'` types once the screen shows the text.  A frame
is kept whenever the screen has changed and then rests, so that the picture needs no exact clock.  Where nothing is
animated, the last frame is shown.
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
FRAMES_HEAD, FRAMES_MIDDLE, FRAMES_TAIL = 4, 9, 4  # of more frames some of the middle are left out
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


def record(command: list[str], title: str, keys: list[tuple[str, str]], limit: float) -> list[Frame]:
    """Run `command`, typed as `title`, and return what its screen showed; it is ended after `limit` seconds."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {title}".encode())
    frames: list[Frame] = [(1.5, _rows(screen))]
    stream.feed(b"\r\n")
    child, fd = pty.fork()
    if not child:
        os.environ.update(TERM="xterm-256color", LINES=str(ROWS), COLUMNS=str(COLUMNS))
        os.execvp(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
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
                frames[-1] = (2.5, frames[-1][1])  # time to read what is answered
    finally:
        os.close(fd)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    middle = frames[FRAMES_HEAD:-FRAMES_TAIL]
    if len(middle) > FRAMES_MIDDLE:
        frames[FRAMES_HEAD:-FRAMES_TAIL] = [middle[n * len(middle) // FRAMES_MIDDLE] for n in range(FRAMES_MIDDLE)]
    return frames


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def _keep(frames: list[Frame], screen: pyte.Screen) -> None:
    """Add the screen as it is, or show the last frame for longer if nothing has changed."""
    rows = _rows(screen)
    if frames and frames[-1][1] == rows:
        frames[-1] = (max(frames[-1][0], min(frames[-1][0] + REST_SECONDS, 1.5)), rows)
    elif any(rows):
        frames.append((0.7, rows))


def _rows(screen: pyte.Screen) -> list[str]:
    return [_row(screen, number) for number in range(ROWS)]


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
    """The SVG: a row is drawn once for as long as it stays the same."""
    begins = [sum(seconds for seconds, _ in frames[:index]) for index in range(len(frames) + 1)]
    total = begins[-1] + 3.0  # the end stays for a moment
    shown: dict[tuple[int, int], list[str]] = {}  # (first frame, the one behind the last) -> rows
    for number in range(ROWS):
        start = 0
        for index in range(1, len(frames) + 1):
            row = frames[start][1][number]
            if index == len(frames) or frames[index][1][number] != row:
                if row:
                    shown.setdefault((start, index), []).append(row)
                start = index
    styles, groups = [], []
    for start, end in sorted(shown):
        name, stays = f"f{start}-{end}", end == len(frames)
        steps = {0.0: False, begins[start] / total: True}
        if not stays:
            steps[begins[end] / total] = False
        keys = "".join(f"{at:.2%}{{visibility:{'visible' if seen else 'hidden'}}}" for at, seen in steps.items())
        styles.append(f"@keyframes {name}{{{keys}}}#{name}{{animation-name:{name}}}")
        hidden = "" if stays else ' visibility="hidden"'
        groups.append(f'<g id="{name}"{hidden}>' + "\n".join(shown[start, end]) + "</g>")
    width, height = 2 * MARGIN + COLUMNS * CELL_WIDTH, 2 * MARGIN + ROWS * CELL_HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" fill="{INK}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>text{{font:14px monospace;white-space:pre}}"
        f"g{{animation:{total:.2f}s step-end infinite}}\n{chr(10).join(styles)}\n"
        f"@media(prefers-reduced-motion:reduce){{g{{animation:none!important}}}}</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>\n' + "\n".join(groups) + "\n</svg>\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--keys", action="append", default=[], metavar="TEXT=KEYS", help="type KEYS when TEXT is shown")
    parser.add_argument("--limit", type=float, default=120, metavar="SECONDS")
    parser.add_argument("--title", default="", help="the command line to show, if not COMMAND")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    keys = [text.partition("=")[::2] for text in options.keys]
    title = options.title or " ".join(options.command)
    typed = [(text, codecs.decode(key, "unicode_escape")) for text, key in keys]
    frames = record(options.command, title, typed, options.limit)
    if len(frames) == 1:
        print("record_terminal: the program showed nothing", file=sys.stderr)
        return 1
    options.output.write_text(draw(frames, title))
    return 0


if __name__ == "__main__":
    sys.exit(main())
