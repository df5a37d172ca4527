#!/usr/bin/env python3
"""Draws how costs grow, one SVG a plot, from what `cargo bench --bench end_to_end -- --growth --json FILE` wrote.

usage: scripts/plots.py FILE DIRECTORY
"""

import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 60
COLOURS = ["#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce"]


def ticks(highest):
    """Round numbers from 0 to just above `highest`."""
    step = 10 ** math.floor(math.log10(highest))
    for part in (0.2, 0.5, 1, 2):
        if highest / (step * part) <= 6:
            step *= part
            break
    count = math.ceil(highest / step)
    return [step * number for number in range(count + 1)]


def number(value):
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    if value >= 1_000:
        return f"{value / 1_000:g}k"
    return f"{value:g}"


def draw(name, series):
    points = [point for one in series for point in one["points"]]
    lowest_x, highest_x = math.log10(min(x for x, _ in points)), math.log10(max(x for x, _ in points))
    marks = ticks(max(y for _, y in points))

    def place(x, y):
        across = (math.log10(x) - lowest_x) / ((highest_x - lowest_x) or 1)
        up = y / marks[-1]
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def text(x, y, words, anchor="middle", more=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<title>{escape(name)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for mark in marks:
        _, y = place(10**lowest_x, mark)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, y + 4, number(round(mark, 6)), "end"))
    for x in sorted({x for x, _ in points}):
        at, _ = place(x, 0)
        parts.append(f'<line x1="{at:.1f}" y1="{HEIGHT - BOTTOM}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM + 5}" stroke="#888"/>')
        parts.append(text(at, HEIGHT - BOTTOM + 20, number(x)))
    for place_in_list, one in enumerate(series):
        colour = COLOURS[place_in_list % len(COLOURS)]
        places = [place(x, y) for x, y in one["points"]]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
        parts.append(text(LEFT + 10 + 180 * place_in_list, TOP - 14, one["name"], "start", f' fill="{colour}"'))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, series[0]["x"]))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(text(18, middle, series[0]["y"], "middle", f' transform="rotate(-90 18 {middle})"'))
    return "\n".join([*parts, "</svg>", ""])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    plots = defaultdict(list)
    for one in json.loads(Path(sys.argv[1]).read_text()):
        plots[one["plot"]].append(one)
    for name, series in plots.items():
        Path(sys.argv[2], f"growth-{name}.svg").write_text(draw(name, series))


main()
