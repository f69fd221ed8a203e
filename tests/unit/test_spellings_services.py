"""Spellings of the services that attest: their journals, what systemctl says of them, and the registration agent's log. The
lines are made for the test in the wording of the source that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.checks.verdict import CheckResult
from tests.unit.test_spellings import judged, said


# What each code means: sgx_ql_lib_common.h and sgx_default_qcnl_wrapper.h of SGXDataCenterAttestationPrimitives. That the
# cache does not know a platform (0xb010, 0xe047) is its answer, so it was reached; 0xe019 stands for all of the network's.
@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("0xe011", "register the platform"),
        ("0xb010", "register the platform"),
        ("0xe047", "register the platform"),
        ("0xe019", "reach its PCCS"),
        ("0xe065", "accept its PCCS's certificate"),
        ("0xe044", "restart qgsd"),
        ("0x11001", "journal"),
    ],
)
def test_the_cause_of_a_missing_quote_is_named_and_not_its_consequence(code: str, remedy: str) -> None:
    lines = (
        "● qgsd.service - Intel(R) TD Quoting Generation Service",
        "     Loaded: loaded (/usr/lib/systemd/system/qgsd.service; enabled; preset: enabled)",
        "     Active: active (running) since Thu 2025-01-16 08:53:55 UTC; 1h 8min ago",
        "Jan 16 08:55:49 host7 qgsd[73164]: tee_att_init_quote return 0x11001",
        f"Jan 16 08:55:49 host7 qgsd[73164]: Error returned from the p_sgx_get_quote_config API. {code}",
    )
    found = said(judged("units", *lines), "TDX-QGS")
    assert (found.verdict, remedy in found.remedy) == ("fail", True), found


# tools/quote_wrapper's qgs of SGXDataCenterAttestationPrimitives; journalctl -u and qgs in the foreground have no heading.
REFUSED = "tee_att_init_quote return 0x11001"
MADE = (
    "tee_att_init_quote return success",
    "tee_att_get_quote_size return Success",
    "tee_att_get_quote return Success",
)


@pytest.mark.parametrize(
    "prefix", ["", "Jul 02 18:07:39 host7 qgsd[1515]: ", "2025-07-02T18:07:39+0200 a.b qgs[1515]: "]
)
def test_the_journal_alone_tells_that_no_quote_was_made(prefix: str) -> None:
    lines = (
        f"{prefix}[get_platform_quote_cert_data ../td_ql_logic.cpp:302] Error returned from the p_sgx_get_quote_config API. 0xe044",
        f"{prefix}{REFUSED}",
    )
    found = said(judged("units", *lines), "TDX-QGS")
    assert (found.verdict, found.seen) == ("fail", "qgsd logged 0xe044, 0x11001")


def test_a_quote_that_was_made_since_undoes_what_failed_before() -> None:
    def journal(*lines: str) -> CheckResult:
        return said(judged("units", *(f"Jul 02 18:07:39 host7 qgsd[1515]: {line}" for line in lines)), "TDX-QGS")

    assert journal(REFUSED, *MADE).verdict == "unknown"
    assert journal(*MADE, REFUSED).verdict == "fail"
    # canonical/tdx issue 318: systemctl status shows that it is active, too
    active = ("● qgsd.service - Intel(R) TD Quoting Generation Service", "     Active: active (running) since Wed")
    made = tuple(f"Jan 23 11:26:08 host7 qgsd[3444]: {line}" for line in (REFUSED, *MADE))
    assert said(judged("units", *active, *made), "TDX-QGS").verdict == "pass"
    assert said(judged("units", *active, *made, made[0]), "TDX-QGS").verdict == "fail"
    # The first quote finds no key; that it is made then is no failure.
    assert journal("tee_att_get_quote_size return 0x1100f", "call tee_att_init_quote").verdict == "unknown"


@pytest.mark.parametrize(
    ("lines", "check", "seen"),
    [
        # systemctl status, list-units, and where there is no such unit
        (("● qgsd.service - Intel(R) TDQGS", "     Active: failed (Result: exit-code) since Thu"), "TDX-QGS", "failed"),
        (
            (
                "* pccs.service - PCCS",
                "     Loaded: loaded (/lib/systemd/system/pccs.service; enabled)",
                "     Active: activating (auto-restart) (Result: exit-code) since Thu",
            ),
            "TDX-PCCS",
            "activating",
        ),
        (("  aesmd.service loaded failed failed Intel(R) Architectural Enclave",), "SGX-SVC", "failed"),
        (("Unit qgsd.service could not be found.",), "TDX-QGS", "no qgsd"),
        # psw/ae/aesm_service of linux-sgx: active, and no quoting enclave
        (
            (
                "● aesmd.service - Intel(R) Architectural Enclave Service Manager",
                "   Active: active (running) since Thu",
                "Oct 05 11:57:54 host7 aesm_service[17]: Failed to load QE3: 0x4004",
            ),
            "SGX-SVC",
            "QE3",
        ),
    ],
)
def test_a_service_that_fails_is_said_to_in_several_ways(lines: tuple[str, ...], check: str, seen: str) -> None:
    found = said(judged("units", *lines), check)
    assert (found.verdict, seen in found.seen) == ("fail", True), found


# tools/SGXPlatformRegistration of SGXDataCenterAttestationPrimitives: the agent's log and its management tool.
DONE = "[04-06-2024 03:05:54] INFO: Registration Flow - PLATFORM_ESTABLISHMENT or TCB_RECOVERY passed successfully."
FLAG = "Registration process completed successfully."
INDIRECT = (
    "INFO: SGX MP Server configuration flag indicates that Registration Server won't save encrypted platform keys."
)


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ((DONE,), "pass"),
        (("INFO: Registration Flow - Registration status indicates registration is completed successfully.",), "pass"),
        (("ERROR: Registration Flow - getRegistrationStatus failed, error: 4",), "fail"),
        (("ERROR: Registration Flow - BIOS/MCHECK failed, reported error: 0x1A",), "fail"),
        (("ERROR: Registration Flow - BIOS/MCHECK failed, reported error: 0x1A", DONE), "pass"),
        (("INFO: Registration status indicates registration is completed unsuccessfully, and the error code is 130. ",), "fail"),
        (("Registration is in progress.",), "fail"),
        ((FLAG,), "pass"),
        (("Last reported registration error code: 82", FLAG), "fail"),
        ((FLAG, "Last reported registration error code: 82"), "fail"),
        (("Last reported registration error code: 0",), "unknown"),
        # SGXDataCenterAttestationPrimitives issue 138: agents up to 1.8
        (("INFO: Registration Flow - Registration status indicates registration is complete.  Nothing to do.",), "pass"),
        # tools/PCKRetrievalTool; linux-sgx issue 953: the BIOS's record says complete, and nobody has the platform's keys
        (("the data has been sent to cache server successfully and pckid_retrieval.csv has been generated successfully!",), "pass"),
        (
            (
                "Registration status has been set to completed status.",
                "pckid_retrieval.csv has been generated successfully, however the data couldn't be sent to cache server!",
            ),
            "fail",
        ),
        (("Registration status has been set to completed status.", "pckid_retrieval.csv has been generated successfully!"), "unknown"),
        ((INDIRECT,), "unknown"),
    ],
)  # fmt: skip
def test_the_registration_agent_says_what_the_bios_recorded(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("units", *lines), "TDX-MPA").verdict == verdict


def test_the_agents_log_tells_of_indirect_registration() -> None:
    assert said(judged("units", INDIRECT), "TDX-MPAIND").verdict == "info"
    assert said(judged("units", DONE), "TDX-MPAIND").verdict == "unknown"


def test_qgsds_lines_without_a_date_are_its_journal() -> None:
    line = "qgsd[1412990]: [QPL] Failed to get quote config. Error code is 0xb011"
    assert said(judged("units", line), "TDX-QGS").verdict == "fail"


def test_an_aesmd_that_is_active_proves_nothing_where_its_journal_is_not_whole() -> None:
    # Jim8y/awesome-sgx issue 2: active for 16 hours, and no enclave
    lines = (
        "● aesmd.service - Intel(R) Architectural Enclave Service Manager",
        "   Active: active (running) since Mon",
    )
    assert said(judged("units", *lines), "SGX-SVC").verdict == "unknown"
    assert said(judged("units", *lines, "#end"), "SGX-SVC").verdict == "pass"


def test_a_bios_without_a_record_is_not_asked_to_register_automatically() -> None:
    # SGXDataCenterAttestationPrimitives issues 345 and 364: in a VM, or SGX off
    lines = (
        "ERROR: getRegistrationStatus: SgxRegistrationStatus UEFI variable was not found or size not as expected.",
        "ERROR: Registration Flow - getRegistrationStatus failed, error: 4",
    )
    found = said(judged("units", *lines), "TDX-MPA")
    assert (found.verdict, "boot by UEFI" in found.remedy) == ("fail", True)
    assert said(judged("units", *lines, DONE), "TDX-MPA").verdict == "pass"


@pytest.mark.parametrize(
    ("lines", "check", "verdict"),
    [
        # journalctl -u: systemd's own lines; the description alone is what versions before 249 say of a start (linux-sgx issue 910)
        (("Nov 15 16:24:51 host7 systemd[1]: aesmd.service: Failed with result 'exit-code'.",), "SGX-SVC", "fail"),
        (("Nov 15 16:24:51 host7 systemd[1]: qgsd.service: Start request repeated too quickly.",), "TDX-QGS", "fail"),
        (
            (
                "Jul 20 17:43:03 host7 systemd[1]: aesmd.service: Failed with result 'exit-code'.",
                "Jul 20 17:43:19 host7 systemd[1]: Started Intel(R) Architectural Enclave Service Manager.",
            ),
            "SGX-SVC",
            "unknown",
        ),
        (("Job for qgsd.service failed because the control process exited with error code.",), "TDX-QGS", "fail"),
        (("Failed to start qgsd.service: Unit qgsd.service not found.",), "TDX-QGS", "fail"),
        (("$ systemctl is-active qgsd", "inactive"), "TDX-QGS", "fail"),
        (("$ systemctl is-active qgsd", "active"), "TDX-QGS", "unknown"),
        # sgx_default_quote_provider.cpp, for 0xe011
        (("Jul 20 17:43:03 host7 qgsd[15]: [QPL] No certificate data for this platform.",), "TDX-QGS", "fail"),
    ],
)
def test_what_systemd_and_qgsd_say_in_words(lines: tuple[str, ...], check: str, verdict: str) -> None:
    assert said(judged("units", *lines), check).verdict == verdict


# confidential-computing.tee.dcap.pccs, pcs_client: its journal, and its own file without the journal's beginning.
UP = "2024-08-04 20:30:11.259 [info]: HTTPS Server is running on: https://localhost:8081"
REFUSED_KEY = "2024-08-04 20:31:02.100 [error]: Intel PCS server returns error(401)."


@pytest.mark.parametrize("prefix", ["", "Aug 04 20:31:02 host7 node[3442]: "])
def test_a_cache_that_intel_refuses_tells_so(prefix: str) -> None:
    def cache(*lines: str) -> CheckResult:
        return said(judged("units", *(f"{prefix}{line}" for line in lines)), "TDX-PCCS")

    key = cache(UP, REFUSED_KEY)
    assert (key.verdict, "subscription key" in key.remedy) == ("fail", True)
    assert cache(UP, REFUSED_KEY, UP).verdict == "unknown"
    # A cache serves a site: that Intel does not know a platform is not this host's fault, unless it is its own.
    assert cache(UP, REFUSED_KEY.replace("401", "404")).verdict == "unknown"
    network = cache(
        UP, "2024-08-04 20:31:02.100 [error]: RequestError: getaddrinfo ENOTFOUND api.trustedservices.intel.com"
    )
    assert (network.verdict, "proxy" in network.remedy) == ("fail", True)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        # sgx_default_qcnl.conf of DCAP 1.11 and newer, and before
        ('  "pccs_url": "https://pccs.example.org:8081/sgx/certification/v4/"', "info"),
        ("PCCS_URL=https://pccs.example.org:8081/sgx/certification/v3/", "info"),
        ("PCCS_URL=http://localhost:8081/sgx/certification/v3/", "fail"),
        ('//"pccs_url": "https://pccs.example.org/"', "unknown"),
    ],
)
def test_the_quote_librarys_configuration_is_read_as_it_is(line: str, verdict: str) -> None:
    assert said(judged("sysfs", "$ cat /etc/sgx_default_qcnl.conf", "{", line), "TDX-PCCS").verdict == verdict


@pytest.mark.parametrize(
    ("lines", "remedy"),
    [
        # RegistrationService.cpp and its actions, SGXDataCenterAttestationPrimitives
        (("ERROR: Registration Flow - getRegistrationRequest failed, error: 4",), "do not understand each other"),
        (
            (
                "ERROR: Failed to send request to server, error: 3",
                "INFO: Registration Flow - PLATFORM_ESTABLISHMENT or TCB_RECOVERY failed.",
            ),
            "a way to Intel",
        ),
    ],
)
def test_the_agent_says_before_it_fails_what_was_in_its_way(lines: tuple[str, ...], remedy: str) -> None:
    found = said(judged("units", *lines), "TDX-MPA")
    assert (found.verdict, remedy in found.remedy) == ("fail", True)
    assert said(judged("units", *lines, DONE), "TDX-MPA").verdict == "pass"


STATUS = (
    "● nvidia-persistenced.service - NVIDIA Persistence Daemon",
    "     Loaded: loaded (/usr/lib/systemd/system/nvidia-persistenced.service; enabled; preset: enabled)",
    "     Active: active (running) since Wed 2023-08-02 05:11:57 UTC; 1h 33min ago",
)
STARTED = (
    "    Process: 8257 ExecStart=/usr/bin/nvidia-persistenced --user nvpd {} --verbose (code=exited, status=0/SUCCESS)"
)
BELOW = "             └─2748 /usr/bin/nvidia-persistenced --user nvpd {} --verbose"


# systemctl status; distributions' unit says --no-persistence-mode, NVIDIA's guide of confidential computing the other
@pytest.mark.parametrize("line", [STARTED, BELOW, BELOW.replace("└─", "`-")])
def test_the_command_of_a_unit_is_read_from_its_status(line: str) -> None:
    for option, verdict in (("--uvm-persistence-mode", "pass"), ("--no-persistence-mode", "fail")):
        assert said(judged("units", *STATUS, line.format(option)), "GPU-PERS").verdict == verdict
    assert said(judged("units", *STATUS), "GPU-PERS").verdict == "unknown"


# systemd's own lines of the journal (ollama/ollama issue 11932)
def test_a_unit_that_the_journal_last_saw_fail_is_not_active() -> None:
    failed = "2025-08-16T00:03:03+00:00 cvm systemd[1]: nvidia-persistenced.service: Failed with result 'exit-code'."
    again = "2025-08-16T00:04:03+00:00 cvm systemd[1]: Started nvidia-persistenced.service - NVIDIA Persistence Daemon."
    stopped = again.replace("Started", "Stopped")
    for lines, verdict in (((failed,), "fail"), ((failed, again), "unknown"), ((again, stopped), "fail")):
        assert said(judged("units", *lines), "GPU-PERS").verdict == verdict, lines
    # What status says itself is the state; the journal below it tells how that came.
    now = (*STATUS, failed, STARTED.format("--uvm-persistence-mode"))
    assert said(judged("units", *now), "GPU-PERS").verdict == "pass"
