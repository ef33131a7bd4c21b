"""`make demo`: a burst of 60 requests, shown live and checked against the guarantees.

It starts a fresh stack in compressed time, and ends in about a minute. With `--slow` (or SLOW=1) it runs in
real time, on the stack that runs already or on a fresh one.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from core.errors import SettingError
from infra.demo import burst, picture, view
from infra.demo.target import Target, found
from infra.local.processes import StackError
from infra.local.settings import environment

COUNT = 60
COMPRESSED_WINDOWS = 4  # sending is compressed less: each function instance is a process here
EXIT_BROKEN = 1
EXIT_USAGE = 2
REFRESH_PER_SECOND = 4


def main(argv: Sequence[str]) -> int:
    """Run the demo; the exit status is 0 if every guarantee was kept."""
    options = _options(argv)
    console = Console()
    try:
        with found(environment(options.env_file), compressed=not options.slow, say=console.print) as target:
            return _show(target, options, console)
    except SettingError as error:
        console.print(f"error: {error}", markup=False)
        return EXIT_USAGE
    except StackError as error:
        console.print(f"error: {error}", markup=False)
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return EXIT_BROKEN


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.demo", description=__doc__)
    slow = os.environ.get("SLOW", "") not in {"", "0"}
    parser.add_argument(
        "--slow", action="store_true", default=slow, help="real time: some requests take minutes"
    )
    parser.add_argument("--count", type=int, default=COUNT, help="how many requests")
    parser.add_argument("--svg", type=Path, default=Path(".local/demo.svg"), help="the file for the picture")
    parser.add_argument("--env-file", type=Path, default=Path(".env"), help="settings beside the environment")
    return parser.parse_args(argv)


def _show(target: Target, options: argparse.Namespace, console: Console) -> int:
    over_s = target.window_s if options.slow else COMPRESSED_WINDOWS * target.window_s
    console.print(f"{options.count} requests in {over_s:g} s; watch at {target.api_url}/console")
    if options.slow:
        console.print("Real time: some requests take minutes, because the upstream does.")
    else:  # this stack has the default key, which is no secret
        console.print(f"The key for the console is {target.key}.")
        console.print(f"Compressed time: the window is {target.window_s:g} s. SLOW=1 takes the real minute.")
    with Live(console=console, refresh_per_second=REFRESH_PER_SECOND) as live:
        seen = asyncio.run(
            burst.run(target, options.count, over_s, lambda seen: live.update(view.live(seen, options.count)))
        )
    promises = burst.judge(seen)
    console.print(view.summary(promises, seen))
    options.svg.parent.mkdir(parents=True, exist_ok=True)
    options.svg.write_text(picture.draw(seen))
    console.print(f"The picture: {options.svg}", markup=False, soft_wrap=True)
    return 0 if all(promise.kept for promise in promises) else EXIT_BROKEN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
