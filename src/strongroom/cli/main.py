"""The command line: one verb a file, errors as one line, exit codes as designed."""

# Before anything that opens a socket is imported: pyinfra runs hosts in greenlets.
from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from itertools import pairwise  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

from strongroom import __version__  # noqa: E402
from strongroom.cli import (  # noqa: E402
    apply,
    attest,
    bundle,
    destroy,
    init,
    lab,
    lock,
    measure,
    plan,
    preflight,
    render,
    status,
    upgrade,
    verify,
)
from strongroom.errors import Exit, StrongroomError  # noqa: E402

app = typer.Typer(
    name="strongroom",
    help="Turns bare-metal servers into self-managed confidential Kubernetes clusters, and says what of them is.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 changes pending, 4 preflight refused, 5 attestation refused, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"strongroom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="STRONGROOM_DEBUG")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["STRONGROOM_DEBUG"] = "1"


app.command("init")(init.init)
app.command("preflight")(preflight.preflight)
app.command("plan")(plan.plan)
app.command("apply")(apply.apply)
app.command("upgrade")(upgrade.upgrade)
app.command("destroy")(destroy.destroy)
app.command("verify")(verify.verify)
app.command("status")(status.status)
app.command("render")(render.render)
app.add_typer(attest.app, name="attest")
app.add_typer(measure.app, name="measure")
app.add_typer(bundle.app, name="bundle")
app.add_typer(lock.app, name="lock")
app.add_typer(lab.app, name="lab")


def report(error: StrongroomError) -> int:
    """Print an error as its lines and its hint, and return the exit code."""
    for line in str(error).splitlines():
        print(f"strongroom: {line}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)
    return int(error.exit)


def _wrong_usage(error: typer.TyperException) -> str:
    """The parser's words as a line of ours: pydantic, which reads its numbers, leaves out what was found."""
    said = error.format_message().replace("Value error, ", "")
    option, wrong, allowed = said.removeprefix("Invalid value for '").partition("': Input should be ")
    if not wrong:
        return said
    words = sys.argv[1:]
    after = [word for before, word in pairwise(words) if before == option]
    joined = [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")]
    found = f"found {(after + joined)[-1]!r}, " if after + joined else ""
    return f"{option}: {found}allowed is {allowed.partition(', unable')[0]}"


def _traceback() -> None:
    """Shown where it was asked for, before the line that is always there; the exit code stays what it is."""
    if os.environ.get("STRONGROOM_DEBUG"):
        traceback.print_exc()


def _drop_output() -> None:
    """What is left of stdout goes nowhere: Python would try to write it once more, and end with another code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point: every way out is an exit code."""
    # What was imported lives to the end: without this the collector walks through all of it again while hosts wait.
    gc.freeze()
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()  # here, where it is known what to say if that fails
        sys.exit(code if isinstance(code, int) else Exit.OK)
    except StrongroomError as error:
        _traceback()
        sys.exit(report(error))
    except typer.Abort:
        sys.exit(Exit.INTERRUPTED)
    except typer.TyperException as error:
        print(f"strongroom: {_wrong_usage(error)}", file=sys.stderr)
        sys.exit(Exit.USAGE)
    except KeyboardInterrupt:
        print("strongroom: interrupted", file=sys.stderr)
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        sys.exit(Exit.FAILED)
    except OSError as error:
        # Of this machine, as a full disk is; what files are about is caught where they are opened.
        _traceback()
        _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        print(f"strongroom: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(Exit.FAILED)
    except Exception as error:
        _traceback()
        print(f"strongroom: {type(error).__name__}: {error} (a bug: --debug shows where)", file=sys.stderr)
        sys.exit(Exit.FAILED)
