"""Run every benchmark and print one table: medians, spread, ratios to peers, goals."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import (
    agents,
    api,
    controller,
    no_op_steps,
    output,
    plan_ten_thousand,
    plan_thousand,
    rehearsal,
    scheduling,
    startup,
    tls_output,
    tls_steps,
    tls_tail,
)
from benchmarks.bench import BUILD, Bench
from benchmarks.figures import Absent, AtMost, Figure, Goal, Line, Ratio, Unit, shown

BENCHMARKS: dict[str, tuple[str, Callable[[Bench], Iterator[Line]]]] = {
    "startup": ("Commands that have little to do", startup.measure),
    "plan-1000": ("1,000 objects in 1,000 files", plan_thousand.measure),
    "plan-10000": ("10,000 objects in 10,000 files", plan_ten_thousand.measure),
    "steps": ("A step that does nothing, on the built-in worker", no_op_steps.measure),
    "output": ("100 MB of script output", output.measure),
    "tls-steps": ("A step that does nothing, on an agent over TLS", tls_steps.measure),
    "tls-output": ("100 MB of script output, from an agent over TLS", tls_output.measure),
    "tls-tail": ("50 scripts that print steadily, on an agent over TLS", tls_tail.measure),
    "scheduling": ("The scheduler, and its grants in the store", scheduling.measure),
    "rehearsal": ("A rehearsal of 10,000 tasks of ten steps", rehearsal.measure),
    "controller": ("A controller with 10,000 objects", controller.measure),
    "api": ("The API of a server with 10,000 objects", api.measure),
    "agents": ("1,000 idle agents, and one alone", agents.measure),
}
LOAD_MAX = 1.0  # at the start; above it other programs take a core from us


def main() -> int:
    """Run what is asked for; return 1 if a command failed, whatever the figures are."""
    chosen = argparse.ArgumentParser(description=__doc__)
    chosen.add_argument("--quick", action="store_true", help="a tenth of the sizes, one run: does it work?")
    chosen.add_argument("--only", choices=BENCHMARKS, action="append", help="this one; may be repeated")
    options = chosen.parse_args()
    say_where()
    if options.quick:
        print("Quick: a tenth of the sizes, one run; goals that depend on the size are left out.")
    failed = [name for name in options.only or BENCHMARKS if not run(name, is_quick=options.quick)]
    print(f"\nLoad at the end: {load()}")
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def say_where() -> None:
    """Print what the figures depend on."""
    git = subprocess.run(["git", "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    print(f"{os.cpu_count()} cores ({processor()}), {platform.system()} {platform.release()}")
    print(f"Python {platform.python_version()}, git {git}; load {load()}")
    if os.getloadavg()[0] > LOAD_MAX:
        print(f"Warning: the load is above {LOAD_MAX:g}: other programs run, and every figure is worse for it.")


def run(name: str, *, is_quick: bool) -> bool:
    """Run one benchmark and print its lines as they come; say whether it came to its end."""
    title, measure = BENCHMARKS[name]
    print(f"\n{title:<56}{'median':>10}{'min':>11}{'max':>11}{'runs':>6}  goal")
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=BUILD, prefix=f"{name}-"))
    try:
        for line in measure(Bench(folder, is_quick)):
            print(as_text(line), flush=True)
    except Exception:  # noqa: BLE001 - a boundary: one benchmark that breaks must not keep the others from running
        traceback.print_exc()
        return False
    finally:
        shutil.rmtree(folder)
    return True


def as_text(line: Line) -> str:
    """Return a line of the table."""
    match line:
        case Figure(name, unit, values, goal):
            spread = f"{shown(min(values), unit):>11}{shown(max(values), unit):>11}{len(values):>6}"
            return f"  {name:<54}{shown(line.value, unit):>10}{spread}  {verdict(line.value, goal, unit)}".rstrip()
        case Ratio(name, _, _, goal):
            return f"    {name:<52}{f'{line.value:.2f} ×':>10}{'':>28}  {verdict(line.value, goal)}".rstrip()
        case Absent(name, reason):
            return f"  {name}: not measured, since {reason}"


def verdict(value: float, goal: Goal | None, unit: Unit | None = None) -> str:
    """Say what was wanted, and whether it is so."""
    if goal is None:
        return ""
    bound = f"{goal.bound:g} ×" if unit is None else shown(goal.bound, unit)
    sign = "≤" if isinstance(goal, AtMost) else "≥"
    return f"{sign} {bound} {'met' if goal.is_met(value) else 'MISSED'}"


def load() -> str:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def processor() -> str:
    """Return the processor's name, as far as the system knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
