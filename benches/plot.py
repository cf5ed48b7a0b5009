#!/usr/bin/env python3
"""Draws the plots of docs/performance.md from what the benches print.

    (cargo bench --bench overhead; cargo bench --bench throughput) | tee bench.txt
    python3 benches/plot.py bench.txt docs
"""

import math
import pathlib
import sys
from html import escape

PEERS = {
    "tower-webhook": "#2563a8",
    "hyper-util": "#8a8f98",
    "hand-written": "#c9711c",
}
WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 56, 50


def read(lines):
    """The points of every `series NAME X PEER VALUE`: {name: {x: {peer: value}}}."""
    series = {}
    for line in lines:
        match line.split():
            case ["series", name, x, peer, value]:
                series.setdefault(name, {}).setdefault(x, {})[peer] = float(value)
    return series


def nice_top(value):
    """The next number above that reads well on an axis."""
    unit = 10 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * unit >= value)


class Plot:
    def __init__(self, title, unit, top):
        self.top = nice_top(top)
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="system-ui, sans-serif" font-size="13" fill="#222">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        ]
        self.text(LEFT, 22, f"{title} ({unit})", size=15)
        for step in range(5):
            value = self.top * step / 4
            y = self.y(value)
            self.parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            )
            self.text(LEFT - 8, y + 4, f"{value:,.4g}" if value < 1000 else f"{value:,.0f}", "end")

    def y(self, value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top

    def text(self, x, y, text, anchor="start", size=13):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
            f"{escape(text)}</text>"
        )

    def legend(self, peers):
        x = LEFT
        for peer in peers:
            self.parts.append(
                f'<rect x="{x}" y="34" width="12" height="12" fill="{PEERS[peer]}"/>'
            )
            self.text(x + 18, 45, peer)
            x += 40 + 8 * len(peer)

    def write(self, path):
        path.write_text("\n".join([*self.parts, "</svg>"]) + "\n")


def bars(path, title, unit, groups, cut=math.inf):
    """A group of bars for each x. A bar beyond `cut` is cut off, its value written on it."""
    peers = [peer for peer in PEERS if any(peer in group for group in groups.values())]
    highest = max(value for group in groups.values() for value in group.values() if value <= cut)
    plot = Plot(title, unit, highest)
    plot.legend(peers)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    wide = room * 0.8 / len(peers)
    for at, (x, group) in enumerate(groups.items()):
        left = LEFT + room * at + room * 0.1
        for place, peer in enumerate(peers):
            if peer not in group:
                continue
            value = group[peer]
            y = plot.y(min(max(value, 0), plot.top))
            bar = left + wide * place
            plot.parts.append(
                f'<rect x="{bar:.1f}" y="{y:.1f}" width="{wide - 4:.1f}" '
                f'height="{HEIGHT - BOTTOM - y:.1f}" fill="{PEERS[peer]}"/>'
            )
            label = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
            plot.text(bar + wide / 2 - 2, max(y - 5, TOP + 12), label, "middle", 11)
        plot.text(left + room * 0.4, HEIGHT - BOTTOM + 20, x.replace("-", " "), "middle")
    plot.write(path)


def lines(path, title, unit, below, points):
    """A line for each peer, over the logarithm of x."""
    xs = sorted(points, key=float)
    peers = [peer for peer in PEERS if peer in points[xs[0]]]
    plot = Plot(title, unit, max(value for group in points.values() for value in group.values()))
    plot.legend(peers)
    last = math.log(float(xs[-1]))

    def place(x):
        return LEFT + 30 + (WIDTH - LEFT - RIGHT - 60) * math.log(float(x)) / last

    for x in xs:
        plot.text(place(x), HEIGHT - BOTTOM + 20, f"{int(x):,}", "middle")
    plot.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, below, "middle")
    for peer in peers:
        at = [(place(x), plot.y(points[x][peer])) for x in xs]
        path_of = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        color = PEERS[peer]
        plot.parts.append(
            f'<polyline points="{path_of}" fill="none" stroke="{color}" stroke-width="2"/>'
        )
        for x, y in at:
            plot.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>')
    plot.write(path)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    series = read(pathlib.Path(sys.argv[1]).read_text().splitlines())
    folder = pathlib.Path(sys.argv[2])
    missing = {"deliveries", "outstanding", "ttfb_added_us"} - series.keys()
    if missing:
        sys.exit(f"{sys.argv[1]} has no series {', '.join(sorted(missing))}")
    bars(folder / "throughput.svg", "Deliveries of 1 KiB", "a second", series["deliveries"])
    lines(
        folder / "outstanding.svg",
        "Deliveries of 1 KiB to one receiver",
        "a second",
        "deliveries outstanding",
        series["outstanding"],
    )
    # A response that is a stream waits for its end in the hand-written one: milliseconds.
    bars(
        folder / "latency.svg",
        "Time to the first byte of a response, added",
        "µs",
        series["ttfb_added_us"],
        cut=1_000,
    )


main()
