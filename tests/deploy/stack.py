"""The files of the stack, read as they stand, and what is wrong with a compose file. Nothing needs to be installed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.root import source_root

Json: TypeAlias = dict[str, Any]

ROOT = source_root()
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana/dashboards/interlock.json"
ALERTS = DEPLOY / "prometheus/alerts.yml"
SCRAPES = DEPLOY / "prometheus/prometheus.yml"

SECRET = re.compile(r"PASSWORD|PWD|SECRET|TOKEN|API_KEY|ENCRYPTION_KEY")
VARIABLE = re.compile(r"\$\{(\w+)(?::?([-?+])([^}]*))?\}")
WITHOUT_A_SHELL = {"otel-collector": "CollectorDown"}
"""Services whose image has nothing to run a health check with -> the alert that watches them instead."""


def load(path: Path) -> Json:
    text = path.read_text()
    loaded: Json = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    return loaded


def told_variables() -> set[str]:
    """What ``.env.example`` tells of."""
    return set(re.findall(r"^# ?([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def variables(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Each variable that is interpolated or passed through -> how: ``?`` required, ``-`` with a default, or empty."""
    match value:
        case dict():
            for name, inner in value.items():
                if key == "environment" and inner is None:
                    yield name, ""
                yield from variables(inner, name)
        case list():
            for inner in value:
                yield from variables(inner)
        case str():
            yield from ((found[1], found[2] or "") for found in VARIABLE.finditer(value))


def alerts() -> list[Json]:
    return [rule for group in load(ALERTS)["groups"] for rule in group["rules"]]


def wrong(compose: Json) -> list[str]:
    """What is wrong with a compose file, one line each."""
    services: Json = compose["services"]
    found = [line for name, service in services.items() for line in _wrong_with(name, service, services)]
    told = told_variables()
    for name, how in variables(services):
        if name not in told:
            found.append(f".env.example does not tell of {name}")
        if SECRET.search(name) and how not in ("", "?"):
            found.append(f"{name} has a default")
    for kind in ("networks", "volumes"):
        declared = set(compose.get(kind) or ())
        used = {each for service in services.values() for each in _used(service, kind)}
        found += [f"{kind}: {each} is not declared" for each in sorted(used - declared)]
        found += [f"{kind}: {each} is not used" for each in sorted(declared - used)]
    return found


def _wrong_with(name: str, service: Json, services: Json) -> Iterator[str]:
    if not _pinned(service):
        yield f"{name}: image {service.get('image')} is not pinned to a version"
    for port in service.get("ports", []):
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)):
            yield f"{name}: port {port} is open beyond this machine"
    for key, value in service.get("environment", {}).items():
        if SECRET.search(key) and value is not None and not VARIABLE.fullmatch(str(value)):
            yield f"{name}: {key} is written out"
    if "restart" not in service:
        yield f"{name}: no restart policy"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield f"{name}: may gain privileges"
    yield from _wrong_order(name, service, services)
    yield from _wrong_mounts(name, service)


def _wrong_order(name: str, service: Json, services: Json) -> Iterator[str]:
    waited_for = {
        condition["condition"]
        for other in services.values()
        for target, condition in other.get("depends_on", {}).items()
        if target == name
    }
    if not (_checked(service) or "service_completed_successfully" in waited_for or name in WITHOUT_A_SHELL):
        yield f"{name}: no health check, and no job that others wait for"
    for target, condition in service.get("depends_on", {}).items():
        if target not in services:
            yield f"{name}: waits for {target}, which is no service"
        elif condition["condition"] == "service_healthy" and not _checked(services[target]):
            yield f"{name}: waits for {target} to be healthy, and nothing checks that"


def _wrong_mounts(name: str, service: Json) -> Iterator[str]:
    for volume in service.get("volumes", []):
        source, _, rest = str(volume).partition(":")
        if source.startswith("."):
            if not (ROOT / source).exists():
                yield f"{name}: {source} does not exist"
            if not rest.endswith(":ro"):
                yield f"{name}: {source} can be written to"


def _pinned(service: Json) -> bool:
    if "build" in service:
        dockerfile: str = service["build"]["dockerfile"]
        return (ROOT / dockerfile).exists()
    _, _, tag = str(service.get("image", "")).partition(":")
    return re.match(r"v?\d+\.\d+", tag) is not None


def _checked(service: Json) -> bool:
    if "build" in service:
        return "\nHEALTHCHECK " in (ROOT / service["build"]["dockerfile"]).read_text()
    return bool(service.get("healthcheck", {}).get("test"))


def _used(service: Json, kind: str) -> list[str]:
    names = [str(each).partition(":")[0] for each in service.get(kind, [])]
    return [name for name in names if not name.startswith((".", "/"))]
