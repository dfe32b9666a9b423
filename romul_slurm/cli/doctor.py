"""`romul doctor`: what this machine or cluster offers."""

from __future__ import annotations

import argparse
import dataclasses

from romul_slurm.cli.common import print_json


def doctor(options: argparse.Namespace) -> int:
    """Print what was found, line by line as it is found; return 1 if there is a problem."""
    from romul_slurm.doctor import findings, show

    found = findings(options.cluster, options.partition, options.folder)
    if not options.json:
        return show(found)
    listed = [dataclasses.asdict(finding) for finding in found]
    problems = sum(finding["kind"] == "problem" for finding in listed)
    print_json({"problems": problems, "findings": listed})
    return int(problems > 0)
