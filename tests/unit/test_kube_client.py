"""What the Kubernetes client waits for, and what it tells at once: with a call that answers as an API server does."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException

from strongroom.errors import StrongroomError
from strongroom.kube import client

WRONG_TYPE = "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.replicas: expected numeric"


def refusal(status: int, message: str) -> ApiException:
    error = ApiException(status=status, reason="Refused")
    error.body = json.dumps({"kind": "Status", "message": message})
    return error


def server(*ready: bool) -> Any:
    """An API server that says so of itself, each time that it is asked; ready when it isn't said."""
    answers = list(ready)
    return SimpleNamespace(ready=lambda: answers.pop(0) if answers else True)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were slept; the clock of the client goes on by them."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(pauses))
    return pauses


@pytest.mark.parametrize(
    ("status", "message"), [(422, "spec.a: Invalid value"), (500, WRONG_TYPE), (404, "no namespace")]
)
def test_a_refusal_is_told_at_once_in_the_servers_words(status: int, message: str, slept: list[float]) -> None:
    @client._patiently
    def call(_: object) -> None:
        raise refusal(status, message)

    with pytest.raises(StrongroomError) as caught:
        call(server())
    assert str(caught.value) == f"API server: {status}: {message}"
    assert slept == []


def test_what_a_ready_server_forbids_is_told(slept: list[float]) -> None:
    asked = []

    @client._patiently
    def call(_: object) -> None:
        asked.append(1)
        raise refusal(403, "may not")

    with pytest.raises(StrongroomError, match=r"^API server: 403: may not$"):
        call(server(False, False, True))
    assert len(asked) == 4  # unready twice, ready before the last


def test_a_server_that_has_just_started_is_asked_again(slept: list[float]) -> None:
    answers = [refusal(403, "may not"), refusal(403, "may not")]

    @client._patiently
    def call(_: object) -> str:
        if answers:
            raise answers.pop()
        return "done"

    assert call(server(False, False)) == "done"


def test_an_overloaded_server_is_waited_for(slept: list[float]) -> None:
    answers: list[Exception] = [refusal(503, "busy"), refusal(500, "etcdserver: leader changed"), OSError("gone")]

    @client._patiently
    def call(_: object) -> str:
        if answers:
            raise answers.pop()
        return "done"

    assert call(server()) == "done"
    assert len(slept) == 3


def test_patience_ends_in_one_line(slept: list[float]) -> None:
    @client._patiently
    def call(_: object) -> None:
        raise refusal(503, "busy")

    with pytest.raises(StrongroomError) as caught:
        call(server())
    assert str(caught.value) == "API server: no answer for 300 s: 503: busy"


def test_a_body_that_is_no_status_is_told_as_it_is() -> None:
    assert client._said("gate\n  way") == "gate way"
    assert client._said('["a"]') == '["a"]'
