"""`python -m benchmarks [line ...]`: every promise about speed, measured, with its target."""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks import cached, cpu, faults, importing, overhead, sql, throughput

LINES = {
    "distinct": throughput.distinct,
    "repeated": throughput.repeated,
    "uncached": cpu.uncached,
    "writing": cpu.writing,
    "cached": cached.cached,
    "faulty": faults.faulty,
    "crowded": faults.crowded,
    "armed": overhead.armed,
    "planning": overhead.planning,
    "sql": sql.parsed_and_planned,
    "filtered": sql.filtered,
    "imported": importing.imported,
}


def main() -> None:
    """Measure the lines that were asked for, or all; print a figure as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("lines", nargs="*", metavar="line", choices=[[], *LINES], help=", ".join(LINES))
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side; their medians are shown")
    given = parser.parse_args()
    print(f"# Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in given.lines or LINES:
        for figure in LINES[name](given.pairs):
            print(figure, flush=True)


if __name__ == "__main__":
    main()
