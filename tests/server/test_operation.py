"""What an operator copies from the examples is right: alerts, units, and what is said of them."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
ALERTS = EXAMPLES / "prometheus" / "alerts.yaml"
UNITS = sorted((EXAMPLES / "systemd").glob("reconcile*")) + sorted((EXAMPLES / "agent").glob("*.service"))


def test_the_alerts_are_rules_and_fire_when_they_should() -> None:
    subprocess.run(["promtool", "check", "rules", ALERTS], check=True, capture_output=True)
    tested = subprocess.run(
        ["promtool", "test", "rules", "alerts-test.yaml"],
        cwd=ALERTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested_and_told_of_and_names_metrics_that_are_there() -> None:
    text, page = ALERTS.read_text(), (ROOT / "docs" / "metrics.md").read_text()
    names = re.findall(r"alert: (\w+)", text)
    assert set(
        re.findall(r"^ +alertname: (\w+)$", (ALERTS.parent / "alerts-test.yaml").read_text(), re.MULTILINE)
    ) == set(names)
    assert re.findall(r"^\| `(Reconciler\w+)` \|", page, re.MULTILINE) == names
    known = set(re.findall(r"^\| `(reconciler_\w+)` \|", page, re.MULTILINE))
    assert set(re.findall(r"\breconciler_\w+", text)) <= known


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_one_that_systemd_takes(unit: Path, tmp_path: Path) -> None:
    text = re.sub(r"(ExecStart=)(/opt|/usr/local)\S+", r"\1/bin/true", unit.read_text())  # they are not installed here
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"User=\S+", "User=root", text))
    for other in unit.parent.glob("*.service"):
        if other != unit:
            (tmp_path / other.name).write_text("[Service]\nExecStart=/bin/true\n")
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "DelegateSubgroup" not in line]  # of systemd 254 and newer
    assert (done.returncode, said) == (0, []), done.stderr


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "backup" not in unit.name], ids=lambda path: path.name)
def test_what_a_unit_starts_lives_on_without_it(unit: Path) -> None:
    assert "\nKillMode=process\n" in unit.read_text()
    assert "\nRestart=always\n" in unit.read_text()
