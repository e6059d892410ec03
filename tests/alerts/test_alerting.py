"""How a worker tells people: a line, a counter, a webhook that takes it, refuses it, hangs or is not there."""

from __future__ import annotations

import asyncio
import time

import pytest
from temporalio.common import MetricMeter

from activities.alerting import Alerting, NotDelivered
from interlock.contracts import Alert
from interlock.secrets import Secret
from interlock.telemetry.metrics import Instruments
from tests.alerts.webhooks import KEY, webhook
from tests.telemetry.watched import events, lines

SILENT = Instruments(MetricMeter.noop)


def alert(number: int = 0, **fields: str) -> Alert:
    return Alert(kind="cost_outlier", key=f"cost:{number}", text=f"run {number} was dear", fields=fields)


async def test_what_is_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_KEY", "open-sesame-42")
    said = f"it said {Secret('DOOR_KEY').reveal()}"
    with webhook() as there:
        async with Alerting("my space") as alerting:
            await alerting.post(alert(1, run="a/b", reason=said, api_key="k-1"))
            monkeypatch.setenv("INTERLOCK_UI_URL", "https://ui.acme.example/")
            await alerting.post(alert(2, run="a/b"))
    fields = {"run": "a/b", "reason": "it said [secret DOOR_KEY]", "api_key": "[redacted]"}
    link = "https://ui.acme.example/namespaces/my%20space/workflows/a%2Fb"
    assert there.taken == [
        {"text": "run 1 was dear", "kind": "cost_outlier", "key": "cost:1", "fields": fields},
        {
            "text": f"run 2 was dear\n{link}",
            "kind": "cost_outlier",
            "key": "cost:2",
            "fields": {"run": "a/b"},
            "link": link,
        },
    ]


async def test_one_key_is_one_alert() -> None:
    with webhook() as there, lines() as out:
        async with Alerting("default") as alerting:
            for number in (1, 1, 2, 1):
                alerting.raise_directly(alert(number), SILENT)
                alerting.raise_directly(alert(number), SILENT)
            await there.until(2)
    assert sorted(each["key"] for each in there.tried) == ["cost:1", "cost:2"]  # side by side
    assert [each["key"] for each in events(out) if each["event"] == "alert"] == ["cost:1", "cost:2"]


async def test_one_that_is_refused_is_tried_again_and_told_once() -> None:
    with webhook(lambda number: (500, 302, 200)[number]) as there, lines() as out:
        async with Alerting("default") as alerting:
            alerting.raise_directly(alert(), SILENT)
            await there.until(1)
    assert len(there.tried) == 3
    told = [(each["event"], each.get("error")) for each in events(out)]
    assert told == [
        ("alert", None),
        ("alert.failed", "the webhook answered 500"),
        ("alert.failed", "the webhook answered 302"),
    ]


async def test_a_webhook_that_hangs_is_given_up_on() -> None:
    with webhook(lambda number: None) as there:
        async with Alerting("default") as alerting:
            began = time.monotonic()
            with pytest.raises(NotDelivered, match="did not answer within 5 s"):
                await alerting.post(alert())
            assert time.monotonic() - began < 30
            assert len(there.tried) == 1


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:1/{KEY}",
        f"ftp://127.0.0.1/{KEY}",
        f"{KEY}-and-no-address",
        f"http://127.0.0.1:99999/{KEY}",
        f"http://[::/{KEY}",
        "x",
    ],
)
async def test_an_address_that_does_not_answer_or_is_none_is_never_shown(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_ALERT_WEBHOOK", url)
    with lines() as out:
        async with Alerting("default") as alerting:
            with pytest.raises(NotDelivered) as refused:
                await alerting.post(alert())
            alerting.raise_directly(alert(2), SILENT)
            while "alert.failed" not in out.getvalue():
                await asyncio.sleep(0.01)  # and not until it is given up
    assert KEY not in f"{refused.value!r} {refused.value.__cause__!r} {out.getvalue()}"


async def test_in_a_storm_the_rest_is_told_of_by_its_number() -> None:
    with webhook() as there, lines() as out:
        async with Alerting("default", most=3, minute=5.0) as alerting:
            for number in range(10):
                alerting.raise_directly(alert(number), SILENT)
            taken = await there.until(4)
            assert taken[3]["text"] == (
                "7 more alerts in the last minute (7 cost_outlier); the worker's log has them all"
            )
            assert (taken[3]["kind"], taken[3]["fields"]) == ("more", {"cost_outlier": "7"})
            for number in range(10, 15):
                alerting.raise_directly(alert(number), SILENT)
            await alerting.settled()
    # The sum is a post as well, so at most two of these are posted; the last sum is sent at the end.
    *posted, last = there.taken[4:]
    assert len(posted) <= 2
    assert last["fields"] == {"cost_outlier": str(5 - len(posted))}
    assert sum(each["event"] == "alert" for each in events(out)) == 15


async def test_what_is_held_back_while_the_rest_is_summed_up_is_told_of_too() -> None:
    with webhook(lambda number: 500 if number == 1 else 200) as there:  # the first sum is refused, and tried again
        async with Alerting("default", most=1, minute=4.0) as alerting:
            for number in range(3):
                alerting.raise_directly(alert(number), SILENT)
            await there.asked(2)
            alerting.raise_directly(alert(3), SILENT)
            taken = await there.until(3)
    assert [each["fields"] for each in taken[1:]] == [{"cost_outlier": "2"}, {"cost_outlier": "1"}]


async def test_a_sum_that_the_end_of_the_worker_cuts_off_is_told_then() -> None:
    with webhook(lambda number: 500 if number == 1 else 200) as there:
        async with Alerting("default", most=1, minute=3.0) as alerting:
            for number in range(3):
                alerting.raise_directly(alert(number), SILENT)
            await there.asked(2)
    assert [each["fields"] for each in there.taken[1:]] == [{"cost_outlier": "2"}]


async def test_a_sum_under_way_at_the_end_of_the_worker_is_not_told_twice() -> None:
    def slowly(number: int) -> int:
        time.sleep(1.0 if number == 1 else 0.0)
        return 200

    with webhook(slowly) as there:
        async with Alerting("default", most=1, minute=3.0) as alerting:
            for number in range(3):
                alerting.raise_directly(alert(number), SILENT)
            await there.asked(2)
    assert [each["fields"] for each in there.tried[1:]] == [{"cost_outlier": "2"}]


async def test_without_a_webhook_there_is_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERLOCK_ALERT_WEBHOOK", raising=False)
    with lines() as out:
        async with Alerting("default") as alerting:
            alerting.raise_directly(alert(7, run="r", kind="spoofed"), SILENT)
            await alerting.post(alert(8))
    [line] = events(out)
    assert {name: line[name] for name in ("event", "kind", "key", "text", "run", "level")} == {
        "event": "alert",
        "kind": "cost_outlier",
        "key": "cost:7",
        "text": "run 7 was dear",
        "run": "r",
        "level": "warning",
    }
