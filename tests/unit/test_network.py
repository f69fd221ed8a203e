"""Proxies, mirrors and a private CA: what an inventory may say of them, and that each downloader does what it says."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import threading
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import network, registry
from strongroom.fetch.go_toolchain import Toolchain
from strongroom.fetch.http import Client
from strongroom.model.cluster import validate
from strongroom.model.network import Network, Proxy, api_root, overrides, proxy_problem
from strongroom.phases import network as on_hosts
from strongroom.phases.runtime import RuntimePhase
from strongroom.plan.containerd import handler_settings
from strongroom.plan.resource import Observed
from strongroom.plan.script import carry_out
from strongroom.plan.stale import Stale
from strongroom.plan.toml_settings import merge
from tests import private_ca
from tests.rig import Rig
from tests.unit.test_fetch import DATA, SHA, Reply, Server, serve
from tests.unit.test_fetch_registry import Image
from tests.unit.test_shims import context, everything, inventory

SECRET = "hunter2"


def cluster(**settings: Any) -> Network:
    hosts: Mapping[str, Any] = {"cp1": (["control_plane"], {"address": "10.0.0.1"})}
    return validate({"name": "a", "claim": "none", "network": settings}, hosts).cluster.network


class TestWords:
    """What an inventory may say."""

    def test_nothing_is_the_default(self) -> None:
        assert cluster() == Network() == Network(proxy=Proxy(), mirrors={}, ca_file=None, on_hosts=False)

    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            (
                {"proxies": {}},
                "network.proxies: unknown key; allowed are ca_file, mirrors, on_hosts, proxy; did you mean",
            ),
            ({"proxy": {"htps": "x"}}, "network.proxy.htps: unknown key; allowed are http, https, no_proxy"),
            (
                {"proxy": {"https": "proxy:3128"}},
                "network.proxy.https: found 'proxy:3128', allowed is http://HOST:PORT",
            ),
            ({"proxy": {"https": "https://p:1"}}, "allowed is http://HOST:PORT"),
            ({"proxy": {"https": "http://p:1/path"}}, "allowed is http://HOST:PORT"),
            ({"proxy": {"https": "http://p:0"}}, "allowed is http://HOST:PORT"),
            ({"proxy": {"https": 'http://p"x:1'}}, "allowed is http://HOST:PORT"),
            ({"proxy": {"https": f"http://me:{SECRET}@p:1"}}, "given as env:NAME or file:PATH"),
            ({"proxy": {"http": f"http://{SECRET}@p:1"}}, "given as env:NAME or file:PATH"),
            (
                {"proxy": {"https": f"me:{SECRET}@p:1"}},
                "network.proxy.https: found '…@p:1', allowed is http://HOST:PORT",
            ),
            ({"proxy": {"https": f"http://me:a/{SECRET}@p:1"}}, "network.proxy.https: found 'http://…@p:1'"),
            ({"proxy": {"https": f"http://me:{SECRET}@["}}, "given as env:NAME or file:PATH"),
            ({"proxy": f"me:{SECRET}@p:1"}, "network.proxy: found '…@p:1', allowed is a table of keys"),
            ({"proxy": {"http": "env:NO SUCH"}}, "env:NAME of a variable, or file:PATH"),
            ({"proxy": {"no_proxy": ["a,b"]}}, "network.proxy.no_proxy.0: found 'a,b'"),
            (
                {"mirrors": {"quay.io": ["http://mirror"]}},
                "network.mirrors.quay.io.0: found 'http://mirror', allowed is https",
            ),
            ({"mirrors": {"quay.io": ["https://me:pw@mirror"]}}, "without a user name"),
            ({"mirrors": {"https://quay.io": []}}, "network.mirrors.https://quay.io"),
            ({"mirrors": {"../x": []}}, "network.mirrors.../x"),
            ({"ca_file": ""}, "network.ca_file"),
        ],
    )
    def test_what_is_not_allowed_is_a_line_without_a_password(self, settings: dict[str, Any], told: str) -> None:
        with pytest.raises(ConfigError) as caught:
            cluster(**settings)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)
        for secret in (SECRET, "me:pw"):
            assert secret not in str(caught.value)

    @given(st.text(max_size=40))
    def test_any_text_is_a_proxy_or_not_and_never_told(self, text: str) -> None:
        problem = proxy_problem(text)
        assert problem is None or text.strip() == "" or len(text) < 6 or text not in problem

    def test_where_a_mirrors_api_is(self) -> None:
        assert api_root("https://m:5000") == "https://m:5000/v2"
        assert api_root("https://m/v2/quay") == "https://m/v2/quay"
        assert overrides("https://m/v2") is True
        assert overrides("https://m/v2x") is False


class TestReferences:
    """A proxy with a password is somewhere else, and stays there."""

    def test_env_and_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_PROXY", f"http://me:{SECRET}@p:1\n")
        kept = tmp_path / "proxy"
        kept.write_text(f"http://you:{SECRET}@q:2\n")
        kept.chmod(0o600)
        proxy = Proxy(http="env:MY_PROXY", https=f"file:{kept}", no_proxy=(".example",))
        assert network.proxies(proxy) == {
            "http": f"http://me:{SECRET}@p:1",
            "https": f"http://you:{SECRET}@q:2",
            "no": ".example",
        }
        settings = Network(proxy=proxy)
        assert SECRET not in repr(settings) + repr(network.client(settings)) + repr(
            Toolchain("go1", "amd64", {"x": SECRET})
        )

    @pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
    def test_a_file_that_everybody_reads_is_refused(self, tmp_path: Path, mode: int) -> None:
        kept = tmp_path / "proxy"
        kept.write_text(f"http://you:{SECRET}@q:2\n")
        kept.chmod(mode)
        with pytest.raises(
            ConfigError, match=rf"network\.proxy\.https: file:.*can be read by everybody \(mode {mode:04o}\)"
        ):
            network.proxies(Proxy(https=f"file:{kept}"))

    def test_a_reference_that_leads_nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MY_PROXY", raising=False)
        with pytest.raises(ConfigError, match=r"network\.proxy\.http: env:MY_PROXY: that variable is not set"):
            network.proxies(Proxy(http="env:MY_PROXY"))
        with pytest.raises(ConfigError, match="none: cannot be read: No such file"):
            network.proxies(Proxy(http=f"file:{tmp_path}/none"))
        monkeypatch.setenv("MY_PROXY", f"{SECRET} is no URL")
        with pytest.raises(ConfigError, match="what is there is not allowed") as caught:
            network.proxies(Proxy(http="env:MY_PROXY"))
        assert SECRET not in str(caught.value)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield from serve()


@pytest.fixture
def other(server: Server) -> Iterator[Server]:
    yield from serve()


def quick(settings: Network) -> Client:
    made = network.client(settings)
    return Client(made.ca_file, tries=1, timeout=10, proxies=made.proxies, mirrors=made.mirrors)


@contextlib.contextmanager
def tunnelling(wanted: str | None) -> Iterator[tuple[int, list[str]]]:
    """A proxy for https: takes CONNECT, with a password where one is wanted, and notes what it was asked."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), list[str]()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def one(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        text = head.decode()
        asked.append(text.splitlines()[0])
        if wanted is not None and f"Basic {base64.b64encode(wanted.encode()).decode()}" not in text:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            client.close()
            return
        host, _, port = text.split()[1].rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as target:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(target, client), daemon=True)
            back.start()
            pump(client, target)
            back.join()
        client.close()

    def loop() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        listener.close()


class TestOurClient:
    """`Client`, as an inventory wants it."""

    def test_its_proxy_counts_and_not_the_environments(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "*")
        server.replies["http://releases.example/f"] = Reply(DATA)
        client = quick(Network(proxy=Proxy(http=server.url)))
        assert client.measure("http://releases.example/f") == (SHA, len(DATA))

    def test_what_goes_past_it(self, server: Server, other: Server) -> None:
        server.replies["/f"] = Reply(DATA)
        client = quick(Network(proxy=Proxy(http=other.url, no_proxy=("127.0.0.1",))))
        assert client.measure(f"{server.url}/f") == (SHA, len(DATA))
        assert other.asked == []

    def test_a_password_goes_to_the_proxy_and_not_along_a_redirect_past_it(
        self, server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MY_PROXY", server.url.replace("//", f"//me:{SECRET}%21@"))
        server.replies["http://a.example/f"] = Reply(status=302, headers={"Location": f"{other.url}/g"})
        other.replies["/g"] = Reply(DATA)
        client = quick(Network(proxy=Proxy(http="env:MY_PROXY", no_proxy=("127.0.0.1",))))
        assert client.measure("http://a.example/f") == (SHA, len(DATA))
        (_, sent), (_, then) = server.asked[0], other.asked[0]
        sent = {key.lower(): value for key, value in sent.items()}
        assert sent["proxy-authorization"] == f"Basic {base64.b64encode(f'me:{SECRET}!'.encode()).decode()}"
        assert "proxy-authorization" not in {key.lower() for key in then}

    def test_https_through_a_proxy_with_a_password(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ca, both = private_ca.issue(tmp_path)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(both)
        for served in serve(tls):
            served.replies["/f"] = Reply(DATA)
            with tunnelling(f"me:{SECRET}") as (port, asked):
                monkeypatch.setenv("MY_PROXY", f"http://me:{SECRET}@127.0.0.1:{port}")
                client = quick(Network(proxy=Proxy(https="env:MY_PROXY"), ca_file=str(ca)))
                assert client.measure(f"{served.url}/f") == (SHA, len(DATA))
                assert [line.split()[:2] for line in asked] == [["CONNECT", served.url.removeprefix("https://")]]
                monkeypatch.setenv("MY_PROXY", f"http://me:wrong-{SECRET}@127.0.0.1:{port}")
                client = quick(Network(proxy=Proxy(https="env:MY_PROXY"), ca_file=str(ca)))
                with pytest.raises(StrongroomError, match="407 Proxy Authentication Required") as caught:
                    client.measure(f"{served.url}/f")
            sent = {key.lower() for _, headers in served.asked for key in headers}
        assert "proxy-authorization" not in sent
        assert caught.value.hint == f"the proxy in use is http://127.0.0.1:{port}"

    def test_a_hint_has_no_password_of_the_environments_either(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("https_proxy", f"http://me:{SECRET}@127.0.0.1:9")
        with pytest.raises(StrongroomError) as caught:
            Client(tries=1).get("https://releases.example/")
        assert caught.value.hint == "the proxy in use is http://127.0.0.1:9"


class TestMirrors:
    """The registry client asks them first."""

    @pytest.fixture
    def image(self, server: Server) -> Image:
        made = Image(server)
        made.publish()
        return made

    def test_a_mirror_is_asked_in_the_registrys_place(self, image: Image, tmp_path: Path) -> None:
        settings = Network(mirrors={"registry.example": (image.server.url,)})
        reference = "registry.example/team/pause:3.10"
        assert registry.resolve(reference, "amd64", quick(settings)) == image.index
        registry.pull(reference, image.index, "arm64", tmp_path / "out.tar", quick(settings))
        assert (tmp_path / "out.tar").exists()

    def test_a_mirror_that_has_it_not_or_changes_it_leaves_it_to_the_next(
        self, image: Image, other: Server, tmp_path: Path
    ) -> None:
        other.replies[f"/v2/quay/team/pause/manifests/{image.index}"] = Reply(b"{}")
        settings = Network(mirrors={"registry.example": (f"{other.url}/v2/quay", image.server.url)})
        reference = "registry.example/team/pause:3.10"
        registry.pull(reference, image.index, "amd64", tmp_path / "out.tar", quick(settings))
        assert other.paths() == [f"/v2/quay/team/pause/manifests/{image.index}"]

    def test_without_any_that_helps_the_registry_says_why(self, image: Image, other: Server, tmp_path: Path) -> None:
        name = image.server.url.removeprefix("http://")
        settings = Network(mirrors={name: (other.url,)})
        with pytest.raises(StrongroomError, match="has no image for linux/s390x"):
            registry.pull(image.reference, image.index, "s390x", tmp_path / "out.tar", quick(settings))
        registry.pull(image.reference, image.index, "amd64", tmp_path / "out.tar", quick(settings))


class TestGo:
    """Go's toolchain gets them in its environment, and only there."""

    def test_it_gets_what_was_asked_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "bin").mkdir()
        go = tmp_path / "bin" / "go"
        go.write_text('#!/bin/sh\n[ -z "$SSL_CERT_FILE" ] || cat "$SSL_CERT_FILE"\nenv\necho "args=$*"\n')
        go.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("GOPROXY", "https://goproxy.example")
        monkeypatch.setenv("MY_PROXY", f"http://me:{SECRET}@p:1")
        ca, _ = private_ca.issue(tmp_path)
        settings = Network(proxy=Proxy(https="env:MY_PROXY", no_proxy=(".example",)), ca_file=str(ca))
        with network.environment(settings) as variables:
            said = Toolchain("go1.26.8", "amd64", variables).run(["build"], tmp_path)
            kept = variables["SSL_CERT_FILE"]
            assert ca.read_text() in said
            system = ssl.get_default_verify_paths().cafile
            assert system is None or Path(system).read_text() in said
        assert not Path(kept).exists()
        lines = said.splitlines()
        assert {f"HTTPS_PROXY=http://me:{SECRET}@p:1", f"https_proxy=http://me:{SECRET}@p:1"} <= set(lines)
        assert {"NO_PROXY=.example", "GOPROXY=https://goproxy.example", "args=build"} <= set(lines)

    def test_where_nothing_is_asked_for_nothing_is_added(self) -> None:
        with network.environment(Network()) as variables:
            assert dict(variables) == {}

    def test_a_ca_that_is_not_there(self, tmp_path: Path) -> None:
        with (
            pytest.raises(ConfigError, match=r"network\.ca_file: .*none\.pem: cannot be read"),
            network.environment(Network(ca_file=str(tmp_path / "none.pem"))),
        ):
            pass


class TestOnHosts:
    """Resources of the runtime phase; carried out in a real shell below a folder."""

    FULL: ClassVar[dict[str, Any]] = {
        "proxy": {"https": "http://p:3128", "no_proxy": [".corp"]},
        "mirrors": {"quay.io": ["https://m.corp", "https://h.corp/v2/quay"], "docker.io": []},
        "on_hosts": True,
    }

    def keys(self, containerd: str = "bundle", **settings: Any) -> list[str]:
        ours = inventory("qemu", network=settings, runtime={"containerd": containerd})
        made = context(ours, *everything())
        return [one.key for one in RuntimePhase().resources(made, ours.host("w1"))]

    @pytest.mark.parametrize("containerd", ["bundle", "distribution"])
    def test_only_when_asked_for(self, containerd: str, tmp_path: Path) -> None:
        plain = self.keys(containerd)
        ca, _ = private_ca.issue(tmp_path)
        wanted = {**self.FULL, "ca_file": str(ca)}
        assert self.keys(containerd, **{**wanted, "on_hosts": False}) == plain
        assert sorted(set(self.keys(containerd, **wanted)) - set(plain)) == [
            "file /etc/containerd/certs.d/docker.io/hosts.toml",
            "file /etc/containerd/certs.d/quay.io/hosts.toml",
            "file /etc/containerd/certs.d/strongroom-ca.pem",
            "file /etc/systemd/system/containerd.service.d/20-strongroom-network.conf",
        ]

    def test_what_the_files_say(self, tmp_path: Path) -> None:
        ca, _ = private_ca.issue(tmp_path)
        found = on_hosts.on_host(inventory("qemu", network={**self.FULL, "ca_file": str(ca)}))
        texts = {file.path: file.content.decode() for file in found.files}
        quay = tomllib.loads(texts["/etc/containerd/certs.d/quay.io/hosts.toml"])
        pull = {"capabilities": ["pull", "resolve"], "ca": "/etc/containerd/certs.d/strongroom-ca.pem"}
        assert quay == {
            "server": "https://quay.io",
            "host": {"https://m.corp": pull, "https://h.corp/v2/quay": {**pull, "override_path": True}},
        }
        assert list(quay["host"]) == ["https://m.corp", "https://h.corp/v2/quay"]
        hub = tomllib.loads(texts["/etc/containerd/certs.d/docker.io/hosts.toml"])
        assert hub == {"server": "https://registry-1.docker.io"}
        unit = texts["/etc/systemd/system/containerd.service.d/20-strongroom-network.conf"]
        assert 'Environment="HTTPS_PROXY=http://p:3128"\n' in unit
        assert "HTTP_PROXY=" not in unit.replace("HTTPS_PROXY=", "")
        assert ",10.244.0.0/16,10.96.0.0/16,.svc,.cluster.local,10.0.0.1,10.0.0.2,.corp" in unit
        assert ca.read_text() in texts["/etc/containerd/certs.d/strongroom-ca.pem"]
        assert found.restart_on == ("/etc/systemd/system/containerd.service.d/20-strongroom-network.conf",)

    def test_a_percent_sign_reaches_the_program(self) -> None:
        found = on_hosts.on_host(inventory("qemu", network={"proxy": {"http": "http://p%31:1"}, "on_hosts": True}))
        assert b'Environment="HTTP_PROXY=http://p%%31:1"' in found.files[0].content

    def test_a_password_is_not_put_on_hosts(self) -> None:
        ours = inventory("qemu", network={"proxy": {"https": "env:MY_PROXY"}, "on_hosts": True})
        with pytest.raises(
            ConfigError, match=r"network\.proxy\.https: found 'env:MY_PROXY', allowed with network\.on_hosts"
        ):
            on_hosts.refuse_unfit(ours)
        on_hosts.refuse_unfit(inventory("qemu", network={"proxy": {"https": "env:MY_PROXY"}}))

    @pytest.mark.parametrize("which", ["key", "none", "text"])
    def test_a_ca_that_is_none(self, tmp_path: Path, which: str) -> None:
        private_ca.issue(tmp_path)
        (tmp_path / "text").write_text("no certificate")
        file = {"key": "server.pem", "none": "nowhere", "text": "text"}[which]
        told = {"key": "has a private key in it", "none": "cannot be read", "text": "has no certificate"}[which]
        settings = {"ca_file": str(tmp_path / file), "mirrors": {"quay.io": ["https://m"]}, "on_hosts": True}
        with pytest.raises(ConfigError, match=told):
            on_hosts.refuse_unfit(inventory("qemu", network=settings))

    @pytest.mark.parametrize(
        ("version", "document", "path"),
        [
            ((1, 7), "", ("plugins", "cri", "registry")),
            ((1, 7), "version = 2\n", ("plugins", "io.containerd.grpc.v1.cri", "registry")),
            ((2, 1), "version = 3\n", ("plugins", "io.containerd.cri.v1.images", "registry")),
        ],
    )
    def test_containerd_is_told_where_they_are(self, version: Any, document: str, path: tuple[str, ...]) -> None:
        settings = handler_settings(version, tomllib.loads(document), "p:1", (), "/etc/containerd/certs.d")
        found = tomllib.loads(merge(document, settings, "x"))
        for part in path:
            found = found[part]
        assert found == {"config_path": "/etc/containerd/certs.d"}
        plain = tomllib.loads(merge(document, handler_settings(version, tomllib.loads(document), "p:1", ()), "x"))
        assert "certs.d" not in json.dumps(plain)

    def test_our_own_drop_in_has_it_or_is_as_it_was(self) -> None:
        def drop_in(**settings: Any) -> str:
            ours = inventory("qemu", network=settings)
            made = context(ours, *everything())
            (found,) = [
                one for one in RuntimePhase().resources(made, ours.host("w1")) if one.key.endswith("10-strongroom.toml")
            ]
            return str(found.content.decode())  # type: ignore[attr-defined]

        plain, full = drop_in(), drop_in(**self.FULL)
        plugin = tomllib.loads(full)["plugins"]["io.containerd.cri.v1.images"]
        assert plugin.pop("registry") == {"config_path": "/etc/containerd/certs.d"}
        assert "certs.d" not in plain
        assert "\n\n\n" not in plain + full
        assert plugin == tomllib.loads(plain)["plugins"]["io.containerd.cri.v1.images"]


class TestNoLongerAskedFor:
    """Files of an earlier inventory go, and the owner's come back."""

    PATH = "/etc/containerd/certs.d/quay.io/hosts.toml"

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        made = Rig(tmp_path / "host")
        made.program("systemctl", "exit 0")
        return made

    def resources(self, *mirrors: str) -> list[Any]:
        network = {"mirrors": {"quay.io": mirrors}, "on_hosts": True} if mirrors else {}
        made = on_hosts.on_host(inventory("qemu", network=network)).resources()
        return [self.ours(one) for one in made]

    @staticmethod
    def ours(one: Any) -> Any:
        """Owned by whoever runs the test."""
        import dataclasses
        import getpass
        import grp

        owner = f"{getpass.getuser()}:{grp.getgrgid(os.getgid()).gr_name}"
        return one if isinstance(one, Stale) else dataclasses.replace(one, owner=owner)

    def converge(self, rig: Rig, resources: list[Any]) -> list[str]:
        seen = rig.look(*resources)
        steps = [step for one in resources for step in one.steps(seen[one.key])]
        rig.do(steps)
        seen = rig.look(*resources)
        assert [step for one in resources for step in one.steps(seen[one.key])] == []
        return [step.sentence for step in steps]

    @pytest.mark.parametrize("theirs", [None, "# mine\n"])
    def test_round_and_back(self, rig: Rig, theirs: str | None) -> None:
        if theirs is not None:
            rig.file(self.PATH, theirs)
        assert self.converge(rig, self.resources()) == [], (
            "nothing asked for, nothing done, whatever of theirs is there"
        )
        assert len(self.converge(rig, self.resources("https://m"))) == 1
        assert "https://m" in rig.read(self.PATH)
        assert len(self.converge(rig, self.resources("https://n"))) == 1
        (said,) = self.converge(rig, self.resources())
        assert said == f"remove {self.PATH}, which the inventory no longer asks for"
        assert (rig.read(self.PATH) if rig.path(self.PATH).exists() else None) == theirs

    def test_only_what_containerd_read_at_its_start_restarts_it(self) -> None:
        stale = on_hosts.on_host(inventory("qemu")).resources()[0]
        first, second = stale.steps(Observed((f"file={on_hosts.DROP_IN}", f"file={self.PATH}")))
        assert "try-restart containerd.service" in first.script
        assert "systemctl" not in second.script.replace("daemon-reload", "")

    def test_it_stops_at_nothing_of_somebody_elses(self) -> None:
        stale = Stale("x", ("/nowhere/*",), ("/a",))
        assert stale.steps(Observed(("file=/a",))) == []
        (step,) = stale.steps(Observed(("file=/b",)))
        assert "/b" in carry_out([step])
