"""A command of several verbs, whose help shows them all with their options at once."""

from collections.abc import Iterator

import click

from reconciler.model.diagnostics import did_you_mean

Record = tuple[str, str]


class Verbs(click.Group):
    """`reconcile NOUN VERB`."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each verb with its usage, what it does and its own options; then those that all of them take."""
        verbs = {name: list(_records(command, ctx)) for name, command in self.commands.items()}
        shared = [record for record in next(iter(verbs.values())) if all(record in own for own in verbs.values())]
        for name, command in self.commands.items():
            usage = command.collect_usage_pieces(click.Context(command, parent=ctx))[1:]
            with formatter.section(" ".join([name, *usage])):
                formatter.write_text(command.help or "")
                if own := [record for record in verbs[name] if record not in shared]:
                    formatter.write_dl(own)
        with formatter.section("Each takes"):
            formatter.write_dl(shared)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a mistyped one is guessed."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f'{ctx.command_path} has no "{args[0]}"{did_you_mean(args[0], self.commands)}')
        return super().resolve_command(ctx, args)


def _records(command: click.Command, ctx: click.Context) -> Iterator[Record]:
    inner = click.Context(command, parent=ctx)
    for option in command.params:
        record = option.get_help_record(inner) if isinstance(option, click.Option) else None
        if record is not None:
            yield record
