"""``pipedtln doctor``: what is wrong, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipedtln.doctor import Finding

# Words, not only colours: readable to everyone and in a bug report.
_MARKS = {
    "ok": ("ok     ", "green"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "red"),
}


@click.command(
    epilog="""\
\b
Examples:
  pipedtln doctor                  look at everything
  pipedtln doctor > report.txt     safe to paste into a bug report
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--verbose", is_flag=True, help="Leave in user names, folders and serial numbers.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, verbose: bool) -> None:
    """Find out what is wrong, and the command that mends it.

    Changes nothing. Ends with code 1 when it finds a problem. Names of users and machines and
    serial numbers are left out.
    """
    from pipedtln.doctor import examine

    found: list[Finding] = []
    for finding in examine(verbose=verbose):
        found.append(finding)
        if not as_json:
            _tell(finding)
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in _MARKS}
    if as_json:
        click.echo(json.dumps({"findings": [asdict(one) for one in found], **counts}, indent=2))
    else:
        click.echo(
            f"\n{_count(counts['problem'], 'problem')}, {_count(counts['warning'], 'warning')}"
        )
    ctx.exit(1 if counts["problem"] else 0)


def _tell(finding: Finding) -> None:
    mark, colour = _MARKS[finding.verdict]
    click.echo(f"{click.style(mark, fg=colour)}  {finding.topic}: {finding.says}")
    if finding.mend:
        click.echo(f"         mend: {finding.mend}")


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
