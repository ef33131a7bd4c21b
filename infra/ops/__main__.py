"""The operator's command-line tool: `python -m infra.ops --help`."""

import sys
from typing import Annotated

import typer

from core.errors import RelayError
from infra.ops import dead_letters, keys, overview, requests, secret, window
from infra.ops.ports import NothingFound
from infra.ops.requests import EXIT_FAILED
from infra.ops.tool import Context, Session

EXIT_NOTHING = 3

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="""\
Find and repair what is stuck, on AWS, on LocalStack and on the embedded stack.

\b
  python -m infra.ops --endpoint http://127.0.0.1:4566 list --state open
  python -m infra.ops status 0199a1b2-…
  python -m infra.ops replay --client billing --since 2h --dry-run

\b
Exit status: 0 done, 1 failed or declined, 2 bad usage, 3 nothing found.
Credentials are looked for as by every AWS tool; a loopback endpoint gets dummy ones.""")  # fmt: skip


@app.callback()
def options(
    context: Context,
    stack: Annotated[
        str, typer.Option(help="The CloudFormation stack.", envvar="RELAY_STACK")
    ] = "signing-relay",
    endpoint: Annotated[
        str | None, typer.Option(help="An emulator's URL.", envvar="AWS_ENDPOINT_URL", show_default="AWS")
    ] = None,
    region: Annotated[str | None, typer.Option(envvar="AWS_REGION", show_default="as configured")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables; may stand anywhere.")
    ] = False,
) -> None:
    """Take the options that all commands share."""
    context.obj = Session(stack, endpoint, region, as_json)


for commands in (overview.app, requests.app, window.app):
    app.add_typer(commands)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(window.limit_app, name="limit")
app.add_typer(keys.app, name="keys")
app.add_typer(window.window_app, name="window")
app.add_typer(secret.upstream_key_app, name="upstream-key")
app.add_typer(secret.secret_app, name="secret")
app.add_typer(secret.app)


def main() -> None:
    """Run the tool and return its exit status."""
    try:
        words = sys.argv[1:]
        as_json = ["--json"] if "--json" in words else []
        app(as_json + [word for word in words if word != "--json"], prog_name="python -m infra.ops")
    except RelayError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(EXIT_NOTHING if isinstance(error, NothingFound) else EXIT_FAILED)


if __name__ == "__main__":
    main()
