"""A connection to a cluster's API server, made from a kubeconfig that stays in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import yaml

from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.report.progress import Progress

FIELD_MANAGER = "strongroom"


def with_server(kubeconfig: str, server: str) -> str:
    """The kubeconfig with its clusters' server replaced by ``https://<server>``."""
    content = yaml.safe_load(kubeconfig)
    for cluster in content["clusters"]:
        cluster["cluster"]["server"] = f"https://{server}"
    return yaml.safe_dump(content, sort_keys=False)


P = ParamSpec("P")
T = TypeVar("T")
_PATIENCE_SECONDS = 300
_PASSING = (0, 429, 500, 502, 503, 504)
#: An applied object with an unknown field, or a value of another type, gets status 500 and these words (API server 1.36).
_NOT_OF_ITS_SCHEMA = "failed to create typed patch object"


def _said(body: object) -> str:
    """What the API server says is wrong: the message of its Status (an object of the API), else the body, on one line."""
    try:
        message = json.loads(str(body))["message"]
    except (ValueError, KeyError, TypeError):
        message = body
    return " ".join(str(message).split())[:300]


def _cause(body: object) -> str | None:
    """The first cause that a Status gives in its details (a disruption budget, with its numbers)."""
    try:
        return " ".join(str(json.loads(str(body))["details"]["causes"][0]["message"]).split())[:300]
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _patiently(function: Callable[P, T]) -> Callable[P, T]:
    """Repeat a call of ``Api`` while the API server is overloaded or away; what it refuses for a reason is not repeated.

    A server that has just started forbids everything until it has read its rules, so a 403 counts only if the server
    was ready before it was asked. Every call here may be repeated: reads, deletes, and server-side applies, which end
    in the same object.
    """

    @wraps(function)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        end, was_ready = time.monotonic() + _PATIENCE_SECONDS, False
        while True:
            try:
                return function(*args, **kwargs)
            except (HTTPError, OSError) as error:
                problem: Exception = error
            except ApiException as error:
                said = f"{error.status}: {_said(error.body or error.reason)}"
                unready = error.status == 403 and not was_ready
                if not unready and (error.status not in _PASSING or _NOT_OF_ITS_SCHEMA in said):
                    raise StrongroomError(f"API server: {said}") from error
                problem, was_ready = error, error.status == 403 and cast(Api, args[0]).ready()
            if time.monotonic() > end:
                text = said if isinstance(problem, ApiException) else str(problem)
                raise StrongroomError(f"API server: no answer for {_PATIENCE_SECONDS} s: {text}") from problem
            time.sleep(3)

    return patient


class UnknownKind(StrongroomError):
    """The API server has no such kind: the definition that it comes with is not installed."""


class Api:
    """One cluster. Objects are plain dicts, as in manifests."""

    def __init__(self, kubeconfig: str) -> None:
        # Two seconds and 100 MB of imports: paid only by what talks to a cluster.
        from kubernetes import config, dynamic

        try:
            self._client = config.new_client_from_config_dict(yaml.safe_load(kubeconfig))
        except Exception as error:
            raise StrongroomError(f"kubeconfig: {error}") from error
        self.server = str(self._client.configuration.host)
        self._make = lambda: dynamic.DynamicClient(self._client)
        self._dynamic: Any = None

    def get_raw(self, path: str) -> str:
        """The body that the API server answers a GET with, as text."""
        request = self._client.param_serialize("GET", path, auth_settings=["BearerToken"])
        response = self._client.call_api(*request, _request_timeout=30)
        return bytes(response.response.data).decode()

    def ready(self) -> bool:
        """Whether the API server says that it is."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self.get_raw("/readyz") == "ok"
        except (ApiException, HTTPError, OSError):
            return False

    def wait_ready(self, progress: Progress, timeout: int = 900) -> None:
        """Wait until the API server is ready.

        Raises:
            StrongroomError: it was not within ``timeout`` seconds.
        """
        self.wait(f"API server {self.server}", self.ready, progress, timeout)

    def wait(self, what: str, done: Callable[[], bool], progress: Progress, timeout: int = 900) -> None:
        """Poll ``done`` until it is true.

        Raises:
            StrongroomError: it was not within ``timeout`` seconds.
        """
        end, said = time.monotonic() + timeout, False
        while not done():
            if time.monotonic() > end:
                raise StrongroomError(
                    f"{what}: not ready after {timeout} s", hint="strongroom status shows what is where"
                )
            if not said:
                progress.say(f"waiting for {what}")
                said = True
            time.sleep(2)

    def _resource(self, manifest: dict[str, Any]) -> Any:
        if self._dynamic is None:
            self._dynamic = self._make()
        from kubernetes.dynamic.exceptions import ResourceNotFoundError

        try:
            return self._dynamic.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        except ResourceNotFoundError as error:
            raise UnknownKind(
                f"API server: has no kind {manifest['kind']} ({manifest['apiVersion']})",
                hint="what brings it has to be installed before",
            ) from error

    @_patiently
    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """An object, or ``None`` where there is none."""
        from kubernetes.dynamic.exceptions import NotFoundError

        try:
            found = self._resource({"apiVersion": api_version, "kind": kind}).get(name=name, namespace=namespace)
        except (NotFoundError, UnknownKind):
            return None
        return dict(found.to_dict())

    @_patiently
    def list(self, api_version: str, kind: str, **query: Any) -> list[dict[str, Any]]:
        """All objects of a kind."""
        found = self._resource({"apiVersion": api_version, "kind": kind}).get(**query)
        return [dict(item) for item in found.to_dict()["items"]]

    @_patiently
    def apply(self, manifest: dict[str, Any], *, dry_run: bool = False, manager: str | None = None) -> dict[str, Any]:
        """Server-side apply under our field manager, or another one of ours; what others own stays theirs, what is ours comes back."""
        metadata = manifest["metadata"]
        options: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        applied = self._resource(manifest).server_side_apply(
            body=manifest,
            name=metadata["name"],
            namespace=metadata.get("namespace"),
            field_manager=manager or FIELD_MANAGER,
            force_conflicts=True,
            **options,
        )
        return dict(applied.to_dict())

    @_patiently
    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete an object; one that is not there is no error."""
        from kubernetes.dynamic.exceptions import NotFoundError

        try:
            self._resource({"apiVersion": api_version, "kind": kind}).delete(
                name=name, namespace=namespace, body={"gracePeriodSeconds": 0}
            )
        except NotFoundError:
            return

    def evict(self, namespace: str, name: str) -> str | None:
        """Ask once that a pod be evicted: ``None`` when it is on its way or gone, else why the API server won't now.

        Raises:
            StrongroomError: the API server refuses it for a reason that waiting doesn't mend.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        pods = self._resource({"apiVersion": "v1", "kind": "Pod"})
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        try:
            pods.subresources["eviction"].create(body=body, name=name, namespace=namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            if error.status not in _PASSING:
                raise StrongroomError(
                    f"pod {namespace}/{name}: API server: {_said(error.body or error.reason)}"
                ) from error
            # What a disruption budget says is in the causes; the message names none.
            return _cause(error.body) or _said(error.body or error.reason)
        except (HTTPError, OSError) as error:
            return str(error)
        return None

    def difference(self, manifest: dict[str, Any]) -> str | None:
        """What applying a manifest would change: ``absent``, the first differing field, or ``None`` for nothing.

        The API server is asked itself, by a dry run, so defaults and other owners' fields never count, and an object
        that it wouldn't take is an error also where there is none yet.
        """
        metadata = manifest["metadata"]
        live = self.get(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace"))
        wanted = self.apply(manifest, dry_run=True)
        return "absent" if live is None else first_difference(_bare(live), _bare(wanted))


def _bare(item: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        key: value
        for key, value in item.get("metadata", {}).items()
        if key not in ("managedFields", "resourceVersion", "generation")
    }
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}


def first_difference(live: Any, wanted: Any, path: str = "") -> str | None:
    """Where two objects differ first, as ``a.b is X, wanted Y``; ``None`` when they don't."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        for key in sorted(live.keys() | wanted.keys()):
            inner = first_difference(live.get(key), wanted.get(key), f"{path}.{key}" if path else str(key))
            if inner:
                return inner
        return None
    return None if live == wanted else f"{path} is {live!r}, wanted {wanted!r}"
