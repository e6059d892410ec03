"""The dashboard and the alert rules ask for metrics and labels that docs/metrics.md tells of, and for no others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from tests.deploy.promql import read
from tests.deploy.stack import ALERTS, DASHBOARD, DEPLOY, ROOT, SCRAPES, Json, alerts, load

OF_THE_SCRAPE = {"job", "instance"}
COMMANDS = {
    "approve", "breakers", "budget", "doctor", "extend", "kill", "list", "pause", "reject", "release", "resume", "run",
    "status", "steer", "top", "trace", "transcript",
}  # fmt: skip


def documented(page: str) -> dict[str, set[str]]:
    """Each series of the tables -> its labels. A histogram is three series."""
    series: dict[str, set[str]] = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", page, re.MULTILINE):
        own = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            series |= {f"{name}_sum": own, f"{name}_count": own, f"{name}_bucket": own | {"le"}}
        else:
            series[name] = own
    return series


KNOWN = documented((ROOT / "docs/metrics.md").read_text())


def unknown(expression: str) -> set[str]:
    """What ``expression`` names that the page does not."""
    query = read(expression)
    found = {metric for metric in query.metrics if metric not in KNOWN}
    found |= {
        f"{metric}.{label}" for metric, label in query.matched if label not in KNOWN.get(metric, set()) | OF_THE_SCRAPE
    }
    labels = set().union(OF_THE_SCRAPE, *(KNOWN.get(metric, set()) for metric in query.metrics))
    return found | {f"by {label}" for label in query.grouped - labels}


def panels() -> list[Json]:
    return [panel for panel in load(DASHBOARD)["panels"] if panel["type"] != "row"]


EXPRESSIONS = {f"{p['title']} {t['refId']}": t["expr"] for p in panels() for t in p["targets"]} | {
    rule["alert"]: rule["expr"] for rule in alerts()
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_query_names_only_what_there_is(name: str) -> None:
    assert unknown(EXPRESSIONS[name]) == set()
    assert read(EXPRESSIONS[name]).metrics


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("rate(interlock_runs[5m])", {"interlock_runs"}),
        ("sum(interlock_run_seconds)", {"interlock_run_seconds"}),
        ("sum by (user) (interlock_runs_total)", {"by user"}),
        ('rate(interlock_runs_total{run="x"}[5m])', {"interlock_runs_total.run"}),
        ("up == 1 and on (instance) nothing_of_the_kind > 0", {"nothing_of_the_kind"}),
        ("1 - (a_b / ignoring(le) c:d)", {"a_b", "c:d", "by le"}),
        ('histogram_quantile(0.9, rate(interlock_run_seconds_bucket{agent=~"a{2}|b"}[1h:5m] offset 2m))', set()),
        ('up{job="interlock_runs_of_nobody"}', set()),
    ],
)
def test_the_reader_of_queries(expression: str, found: set[str]) -> None:
    assert unknown(expression) == found


def test_every_metric_of_ours_is_on_the_dashboard_or_in_a_rule() -> None:
    asked = {metric for expression in EXPRESSIONS.values() for metric in read(expression).metrics}
    parts = re.compile(r"_(bucket|sum|count)$")
    ours = {parts.sub("", name) for name in KNOWN if name.startswith("interlock_")}
    assert ours - {parts.sub("", name) for name in asked} == set()


def test_no_label_is_a_user_or_a_run() -> None:
    labels = set().union(*KNOWN.values())
    assert not labels & {"user", "user_id", "run", "run_id", "workflow_id", "trace_id"}


def test_an_alert_says_what_is_wrong_and_which_command_helps() -> None:
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())
    for rule in alerts():
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]
        commands = re.findall(r"`interlock (\w+)", rule["annotations"]["runbook"])
        assert commands, rule["alert"]
        assert set(commands) <= COMMANDS, rule["alert"]


def test_the_labels_that_an_alert_writes_out_are_those_of_its_query() -> None:
    for rule in alerts():
        query = read(rule["expr"])
        there = query.grouped or {"instance", "job"}
        told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert told <= there, rule["alert"]


def test_panels_have_a_place_a_source_and_a_name_of_their_own() -> None:
    dashboard = load(DASHBOARD)
    sources = {each["uid"] for each in load(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert len({panel["title"] for panel in panels()}) == len(panels())
    variables = {each["name"] for each in dashboard["templating"]["list"]} | {"__rate_interval"}
    for panel in panels():
        assert panel["datasource"]["uid"] in sources
        for target in panel["targets"]:
            assert target["datasource"]["uid"] in sources
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables
    for one, other in combinations([panel["gridPos"] for panel in dashboard["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_the_choices_of_the_dashboard_are_labels_of_ours() -> None:
    for each in load(DASHBOARD)["templating"]["list"]:
        [(metric, label)] = re.findall(r"label_values\((\w+), (\w+)\)", each["query"]["query"])
        assert label in KNOWN[metric]


def test_what_is_scraped_is_a_service_and_what_is_asked_for_is_scraped() -> None:
    services = set(load(ROOT / "docker-compose.yml")["services"]) | {"localhost"}
    jobs = {each["job_name"]: each for each in load(SCRAPES)["scrape_configs"]}
    for job in jobs.values():
        targets = [target.partition(":")[0] for static in job.get("static_configs", []) for target in static["targets"]]
        targets += [name for dns in job.get("dns_sd_configs", []) for name in dns["names"]]
        assert targets
        assert set(targets) <= services
    asked = {job for expression in EXPRESSIONS.values() for job in re.findall(r'job="([\w-]+)"', expression)}
    assert asked <= set(jobs)
    assert all((SCRAPES.parent / name).exists() for name in load(SCRAPES)["rule_files"])


def test_a_worker_is_scraped_where_it_listens() -> None:
    worker = load(ROOT / "docker-compose.yml")["services"]["worker"]["environment"]["INTERLOCK_METRICS"]
    [scrape] = [each for each in load(SCRAPES)["scrape_configs"] if each["job_name"] == "interlock-worker"]
    assert worker == f"0.0.0.0:{scrape['dns_sd_configs'][0]['port']}"


def by_eye(rules: Path) -> bool:
    """Our own look at a file of rules: it parses, and each expression is closed and names something."""
    for group in load(rules)["groups"]:
        for rule in group["rules"]:
            bare = re.sub(r'"(?:\\.|[^"\\])*"', "", rule["expr"])
            if any(bare.count(a) != bare.count(b) for a, b in ("()", "[]", "{}")) or not read(bare).metrics:
                return False
    return True


def by_promtool(rules: Path) -> bool:
    """Prometheus' own look; at our rules, also whether they fire when they should."""
    looks: list[list[str | Path]] = [["check", "rules", rules]]
    if rules == ALERTS:
        looks += [["check", "config", SCRAPES], ["test", "rules", Path(__file__).parent / "alerts_test.yml"]]
    return not any(subprocess.run(["promtool", *look], capture_output=True, check=False).returncode for look in looks)


JUDGES = [by_eye, *([by_promtool] if shutil.which("promtool") else [])]


def as_rules(expressions: dict[str, str], path: Path) -> Path:
    """Expressions of the dashboard as a file of rules, with its variables filled in."""
    filled = [re.sub(r"\$\w+", "5m", each.replace("$__rate_interval", "5m")) for each in expressions.values()]
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(filled)]
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    return path


@pytest.mark.parametrize("judge", JUDGES)
def test_the_rules_and_queries_are_well_formed(judge: Callable[[Path], bool], tmp_path: Path) -> None:
    assert judge(ALERTS)
    assert judge(as_rules(EXPRESSIONS, tmp_path / "dashboard.yml"))
    assert not judge(as_rules({"broken": "sum(rate(up[5m])"}, tmp_path / "broken.yml"))
