"""The command `reconcile`: finds the subcommand, and turns every end into a sentence and an exit code."""

import errno
import gc
import io
import os
import sys
from collections.abc import Mapping
from importlib import import_module

import click

from reconciler.cli.exit_codes import ExitCode
from reconciler.cli.output import discard

COMMANDS: Mapping[str, str] = {
    "init": "Make a working repository to start from.",
    "validate": "Check the declarations offline, all errors at once.",
    "schema": "Print the JSON Schema of a kind, or of all.",
    "plan": "Show what would change.",
    "rehearse": "Play it on simulated workers, on virtual time.",
    "apply": "Carry it out, and run what is declared.",
    "serve": "Carry out each commit, run what is declared, and meet agents.",
    "suspend": "Let the server carry no commit out for a time.",
    "resume": "Let it carry commits out again.",
    "wait": "Wait until a commit has become reality.",
    "drift": "Show what was changed behind Git's back.",
    "status": "Show what is, and what waits for whom.",
    "get": "List the live objects of a kind.",
    "tasks": "List tasks, the newest first.",
    "logs": "Print the log of a task.",
    "events": "List who did what.",
    "audit": "Check and export who did what.",
    "why": "Say why something is as it is.",
    "explain": "Say which workers could run a step, and why the others not.",
    "approve": "Answer a task's question, or a plan that waits, with yes.",
    "reject": "Answer a task's question, or a plan that waits, with no.",
    "cancel": "Stop a task and its whole process tree.",
    "retry": "Run a task again with what it pinned.",
    "drain": "Give a worker nothing new, in Git or for a time.",
    "undrain": "Give it work again.",
    "disable": "Declare that a worker is out of use.",
    "enable": "Declare that it is in use.",
    "promote": "Declare another release of a deployment.",
    "declare": "Declare a worker as its agent was enrolled.",
    "artifacts": "List what a task left, or fetch it.",
    "agent": "Make this machine a worker.",
    "token": "Make the one-use tokens with which agents enrol.",
    "access": "Make the tokens with which the API is called.",
    "release": "Free what a lost attempt holds, since its machine is gone.",
    "revoke": "Trust an agent's identity no longer.",
    "trust": "Show and change the installation's own keys.",
    "backup": "Write the whole state into one file, while the engine works.",
    "restore": "Make a state from a backup, in an empty place.",
    "doctor": "Check an installation, and say what to do.",
    "ci": "Put a plan into a comment of a pull request.",
    "snapshot": "Write the live state, redacted and signed, for plans elsewhere.",
}
"""Every command with its line in `reconcile --help`; a module is imported when its command is used."""


COMPLETION = "_RECONCILE_COMPLETE"
"""Set by a shell that completes words; click answers it."""

DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a write can fail with that names no file."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"reconciler.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from reconciler.model.diagnostics import did_you_mean

            ctx.fail(f'there is no command "{name}"{did_you_mean(name, COMMANDS)}')
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reconciler", prog_name="reconcile", message="%(prog)s %(version)s")
def reconcile() -> None:
    """Declare deployment workers, pools and deployments as YAML in Git; plan them, apply them, run them."""


def main() -> None:
    """Run the command and exit with its code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows few letters shows `?` for the others
    code = run(sys.argv[1:])
    gc.freeze()  # else the interpreter looks through everything for cycles before it ends: a fifth of a short command
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code; everything that can go wrong ends in a sentence on stderr."""
    if not arguments and COMPLETION not in os.environ:
        return _without_command()
    try:
        # Colour is decided by us, so click has nothing to strip.
        result = reconcile.main(args=arguments, prog_name="reconcile", standalone_mode=False, color=True)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        _say(error.format_message(), _usage_hint(error))
        return ExitCode.ERROR
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit:  # click ends by itself for a shell that completes words, and where a pipe was closed
        if COMPLETION in os.environ:
            raise
        return _nobody_reads()
    except BrokenPipeError:
        return _nobody_reads()
    except Exception as error:  # noqa: BLE001 - the named boundary: whatever comes up here is told and counted
        return _told(error)
    return result if isinstance(result, int) else ExitCode.FINE


def _without_command() -> int:
    with click.Context(reconcile, info_name="reconcile", **reconcile.context_settings) as context:
        click.echo(reconcile.get_help(context), err=True)
    return ExitCode.ERROR


def _nobody_reads() -> int:
    """End quietly, as a command that only reads does when `| head` has seen enough."""
    discard(sys.stdout)
    discard(sys.stderr)
    return ExitCode.FINE


def _told(error: Exception) -> int:
    from reconciler.model.errors import ReconcilerError

    if isinstance(error, ReconcilerError):
        _say(error.message, error.hint)
        return error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"{error.filename}: {error.strerror}", "")
        return ExitCode.ERROR
    if isinstance(error, OSError) and error.errno in DISK_FAULTS:
        discard(sys.stdout)
        _say(f"the output cannot be written: {error.strerror}", "make room for it, or write it to another disk")
        return ExitCode.ERROR
    import traceback

    traceback.print_exception(error)
    _say("this is a bug of ours, not of yours", "please report it with the lines above")
    return ExitCode.BUG


def _say(message: str, hint: str) -> None:
    from reconciler.cli.output import shown

    try:
        click.echo(shown(f"Error: {message}"), err=True)
        if hint:
            click.echo(shown(f"  {hint}"), err=True)
    except OSError:  # nobody reads that either; the exit code says it
        discard(sys.stderr)


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"see: {context.command_path} --help" if context is not None else ""
