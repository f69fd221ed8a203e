"""Spellings of who keeps a host's clock and who tells it where names are. The lines are made for the test in the wording of the
tool that stands beside them."""

from __future__ import annotations

import pytest

from tests.unit.test_spellings import judged, said

SOURCES = (
    "MS Name/IP address         Stratum Poll Reach LastRx Last sample",
    "===============================================================================",
)
PEERS = (
    "     remote           refid      st t when poll reach   delay   offset  jitter",
    "==============================================================================",
)


@pytest.mark.parametrize(
    ("lines", "verdict", "seen"),
    [
        # timedatectl; of systemd before 239; timedatectl show
        (("root@host:~# timedatectl", "System clock synchronized: yes", "              NTP service: active"), "pass", ""),
        (("System clock synchronized: no", "NTP service: active", "Packet count: 0"), "warn", ""),
        (("     NTP enabled: yes", "NTP synchronized: no", " RTC in local TZ: no"), "warn", ""),
        (("CanNTP=yes", "NTP=yes", "NTPSynchronized=yes"), "pass", ""),
        (("NTP=yes", "NTPSynchronized=no"), "warn", ""),
        # chronyc tracking, chronyc sources: a cloud's server, a clock that the hypervisor hands in, and none that is followed
        (("Reference ID    : A9FEA97B (metadata.google.internal)", "Leap status     : Normal"), "pass", "chronyd"),
        (("Reference ID    : 00000000 ()", "Leap status     : Not synchronised"), "warn", ""),
        ((*SOURCES, "^* 169.254.169.123               3   4   377    10    +12us[  +15us] +/-  512us"), "pass", "chronyd"),
        ((*SOURCES, "#* PHC0                          0  -1   377     1     -1ns[   -1ns] +/-   33ns"), "pass", "chronyd"),
        (("210 Number of sources = 1", *SOURCES, "^? ntp1.example.com  0   6     0     -     +0ns[   +0ns] +/-    0ns"), "warn", ""),
        (SOURCES, "unknown", ""),
        (("506 Cannot talk to daemon",), "unknown", ""),
        # ntpq -p: followed, by a pulse, not yet
        ((*PEERS, "*time.example.co 17.253.34.125    2 u   35   64  377   12.345    0.123   0.456"), "pass", "ntpd"),
        ((*PEERS, "oPPS(0)          .PPS.            0 l    7   16  377    0.000    0.001   0.002"), "pass", "ntpd"),
        ((*PEERS, " ole.example.com .INIT.          16 u    -   64    0    0.000    0.000   0.000"), "warn", ""),
        # one that says no is believed
        (("System clock synchronized: yes", "Leap status     : Not synchronised"), "warn", ""),
        (("clocksource=hyperv_clocksource_tsc_page",), "unknown", ""),
    ],
)  # fmt: skip
def test_who_keeps_the_clock_is_told_by_several_tools(lines: tuple[str, ...], verdict: str, seen: str) -> None:
    found = said(judged("time", *lines), "C-TIMESRC")
    assert (found.verdict, seen in found.seen) == (verdict, True), found


@pytest.mark.parametrize(
    ("lines", "verdict", "seen"),
    [
        # resolv.conf, by cat
        (("$ cat /etc/resolv.conf", "nameserver 10.96.0.10", "options ndots:5"), "pass", "10.96.0.10"),
        (("#nameserver 8.8.8.8", "nameserver\t192.168.122.1"), "pass", "192.168.122.1"),
        # resolvectl, which prints one below the other or side by side; with the server's name for TLS
        (("Current DNS Server: 10.0.0.2", "       DNS Servers: 10.0.0.2", "                    8.8.8.8"), "warn", "8.8.8.8"),
        (("       DNS Servers: 10.0.0.2 10.0.0.3", "        DNS Domain: ~."), "pass", "10.0.0.2, 10.0.0.3"),
        (("       DNS Servers: 9.9.9.9#dns.quad9.net",), "warn", "9.9.9.9 answers"),
        # those that are asked where there is no other
        (("Fallback DNS Servers: 1.1.1.1#cloudflare-dns.com", "       DNS Servers: 10.0.0.2"), "pass", "10.0.0.2"),
        # nmcli
        (("IP4.GATEWAY:                            192.168.1.1", "IP4.DNS[1]:                             192.168.1.1"), "pass", "192.168.1.1"),
        (("  resolv.conf mode: stub", "    Current Scopes: none"), "unknown", ""),
    ],
)  # fmt: skip
def test_who_answers_names_is_told_by_several_tools(lines: tuple[str, ...], verdict: str, seen: str) -> None:
    found = said(judged("time", *lines), "C-RESOLVER")
    assert (found.verdict, seen in found.seen) == (verdict, True), found
