"""Whether a population that is done was done right, told from its files alone.

Nothing of the library is used here. The journal is replayed (tests/chaos/replay.py), scores and
checkpoints are recomputed from its lineages, and then mailboxes and directories are compared.

    python -m tests.chaos.checker POPULATION MEMBERS STEPS

What is demanded always: every step is counted once, with the score that its lineage comes to, from
a parent that was finished before; every member's last checkpoint and the best are there, each with
exactly its lineage; nothing else is left. What was damaged on purpose (`damaged`) may be missing or
wrong, but nothing may have been trained from it: recomputed scores tell.

Where the end of the journal was damaged or cut (`journal_cut`), workers may know of attempts that
the journal has forgotten, and what it says is kept may have been dropped before; everything else is
demanded all the same, since later controllers know only what is left. Where a damaged line stands
between others, records that contradict what is left are passed over, as controllers do.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.budget import Budget
from tests.chaos.logs import INBOX, OUTBOX, Journal, Log, parse, read_journal, read_log
from tests.chaos.replay import Attempt, Replay
from tests.chaos.tasks import FILE

MANIFEST = "romul.json"


def check(
    directory: Path,
    *,
    members: int,
    steps: int,
    damaged: Collection[str] = (),
    journal_cut: bool = False,
    disk_failed: bool = False,
) -> list[str]:
    """Return what is wrong with a population, one sentence each; nothing if all is well.

    Args:
        directory: of a population whose task is `trail`, and whose processes have ended.
        members: how many there were to be.
        steps: how many each of them was to be trained for.
        damaged: paths in the directory that were damaged on purpose: checkpoints, partial ones,
            or files in them; mailboxes that were cut; journal segments with garbage in them.
        journal_cut: whether the end of the journal was damaged or cut on purpose.
        disk_failed: whether the disk was full or refused to write: what only people read may lack.
    """
    journal = read_journal(directory / "journal")
    if not journal.counted:
        return journal.faults
    damage = Damage(frozenset(damaged))
    budget = Budget.read(directory / "config.yaml", members, steps)
    replay = Replay(budget, journal, damage.has, cut=journal_cut)
    told = None if journal_cut else replay.attempts.keys() | journal.fenced
    return [
        *([] if journal_cut else _check_journal(journal, damage)),
        *replay.violations,
        *_check_mail(replay, directory, damage, told),
        *_check_reports(replay, directory, damage, disk_failed),
        *_check_directories(replay, directory, damage),
    ]


@dataclass(frozen=True)
class Damage:
    """The paths that were damaged on purpose."""

    paths: frozenset[str]

    def has(self, path: str) -> bool:
        """Whether a path, something in it, or what it is in, was damaged."""
        return any(f"{path}/".startswith(f"{p}/") or p.startswith(f"{path}/") for p in self.paths)


def _check_journal(journal: Journal, damage: Damage) -> Iterator[str]:
    """What counts is whole."""
    yield from journal.faults
    for name, end in journal.bad:
        if not damage.has(f"journal/{name}"):
            yield f"the line of {name} that ends at byte {end} is damaged"


# --- mailboxes -----------------------------------------------------------------------------------


def _check_mail(
    replay: Replay, directory: Path, damage: Damage, told: Collection[str] | None
) -> Iterator[str]:
    outboxes = {}
    for home in sorted((directory / "workers").iterdir()):
        inbox, outboxes[home.name] = (
            read_log(home / "inbox.jsonl", INBOX),
            read_log(home / "outbox.jsonl", OUTBOX),
        )
        yield from _check_letters(replay, home.name, inbox, told)
        yield from _check_obedience(home.name, inbox, outboxes[home.name])
    for result in replay.results.values():
        attempt, worker = result.attempt, result.attempt.worker
        outbox = outboxes.get(worker, Log(0))
        reports = [r for r in outbox.of(attempt.name) if r["is"] == "report"]
        finished = [r for r in reports if r["outcome"] == "finished"]
        torn = outbox.bad or damage.has(f"workers/{worker}/outbox.jsonl")
        if not finished and not torn:
            yield f"{attempt.name} was counted as finished, but worker {worker} did not report it"
        for report in finished:
            if report.get("score") != result.score:
                yield f"worker {worker} reported {report.get('score')} for {attempt.name}"


def _check_letters(
    replay: Replay, worker: str, inbox: Log, told: Collection[str] | None
) -> Iterator[str]:
    """A worker is told what the journal says, and nothing of which the journal says nothing."""
    for letter in inbox.records:
        if letter["is"] != "assign":
            continue
        attempt = replay.attempts.get(letter["attempt"])
        if attempt is None:
            if told is not None and letter["attempt"] not in told:
                yield f"worker {worker} was told of {letter['attempt']}, but the journal was not"
            continue
        if attempt.worker != worker:
            yield f"worker {worker} was told of {attempt.name}, which is worker {attempt.worker}'s"
        for key, value in _letter(attempt, replay.budget.interval).items():
            if letter[key] != value:
                yield (
                    f"worker {worker} was told {key}={letter[key]} for {attempt.name}, but the "
                    f"journal says {value}"
                )


def _letter(attempt: Attempt, interval: int) -> dict[str, Any]:
    """Return what an assignment's letter must say."""
    return {
        "member": attempt.member,
        "age": attempt.age,
        "seed": attempt.seed,
        "interval": interval,
        "hyperparameters": attempt.hyperparameters,
        "parent": attempt.parent_path,
        "resume": attempt.resume,
    }


def _check_obedience(worker: str, inbox: Log, outbox: Log) -> Iterator[str]:
    """Who has begun what a newer segment issued begins nothing on the word of an older one."""
    said: dict[str, int] = {}
    for letter in inbox.records:
        if letter["is"] == "assign":
            said[letter["attempt"]] = max(letter["segment"], said.get(letter["attempt"], 0))
    newest: dict[str, int] = defaultdict(int)
    begun = ""
    for record in outbox.records:
        name = record.get("attempt", "")
        match = re.fullmatch(r"(\d+)\.\d+-(\w+)", name)
        if record["is"] != "started" or match is None or name == begun:
            continue
        begun, segment, token = name, int(match[1]), match[2]
        if segment < newest[token] > said.get(name, 0):
            yield f"worker {worker} began {name} after something of segment {newest[token]}"
        newest[token] = max(segment, newest[token])


# --- directories ---------------------------------------------------------------------------------


def _check_reports(
    replay: Replay, directory: Path, damage: Damage, disk_failed: bool
) -> Iterator[str]:
    """What a finished attempt wrote for people is what the journal says."""
    for result in replay.results.values():
        attempt = result.attempt
        path = f"{attempt.home}/report.json"
        expected = {
            "member": attempt.member,
            "age": attempt.age,
            "parent": attempt.parent_path,
            "hyperparameters": attempt.hyperparameters,
            "score": result.score,
        }
        report = _read_json(directory / path)
        if isinstance(report, dict):
            for key, value in expected.items():
                if report.get(key) != value:
                    yield f"{path} says {key}={report.get(key)}, but the journal says {value}"
        elif not (disk_failed or damage.has(path)):
            yield f"{path} is missing or damaged"


def _check_directories(replay: Replay, directory: Path, damage: Damage) -> Iterator[str]:
    """What is needed is there, whole and right, and nothing else is."""
    kept = {replay.results[key].attempt.checkpoint: key for key in replay.kept()}
    for path, key in kept.items():
        if not damage.has(path):
            yield from _check_checkpoint(replay, directory, path, key)
    for found in _entries(directory / "steps", 4):
        path = str(found.relative_to(directory))
        open_when_deleted = found.name.startswith(".fuse_hidden")  # FUSE renames it until then
        if path not in kept and found.name not in ("report.json", "log") and not open_when_deleted:
            yield f"{path} was left behind"
    for found in _entries(directory / "trash", 1):
        yield f"trash/{found.name} was not deleted"


def _check_checkpoint(
    replay: Replay, directory: Path, path: str, key: tuple[int, int]
) -> Iterator[str]:
    what = "the best checkpoint" if key == replay.best else f"the last of member {key[0]}"
    if not (directory / path).is_dir():
        yield f"{path} is missing, {what}"
        return
    trail = _read_json(directory / path / FILE)
    if trail != replay.lineage(*key):
        yield f"{path} does not hold its lineage: {trail}"
    yield from _check_manifest(directory / path, path)


def _check_manifest(checkpoint: Path, path: str) -> Iterator[str]:
    """The manifest lists the files, and says what they are."""
    listing = checkpoint / MANIFEST
    lines = listing.read_bytes().splitlines() if listing.is_file() else []
    manifest = parse(lines[0]) if len(lines) == 1 else None
    if manifest is None:
        yield f"{path}/{MANIFEST} is missing or damaged"
        return
    names = sorted(str(f.relative_to(checkpoint)) for f in checkpoint.rglob("*") if f.is_file())
    names.remove(MANIFEST)
    if names != sorted(manifest["files"]):
        yield f"{path} holds {names}, but its manifest lists {sorted(manifest['files'])}"
        return
    for name, file in manifest["files"].items():
        data = (checkpoint / name).read_bytes()
        if len(data) != file["size"] or zlib.crc32(data) != file.get("crc32", zlib.crc32(data)):
            yield f"{path}/{name} is not what its manifest says"


def _entries(directory: Path, depth: int) -> Iterator[Path]:
    """Yield what is so deep in a directory, and what is no directory above."""
    with os.scandir(directory) as found:
        for entry in sorted(found, key=lambda e: e.name):
            path = directory / entry.name
            if depth > 1 and entry.is_dir(follow_symlinks=False):
                yield from _entries(path, depth - 1)
            else:
                yield path


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def main() -> None:
    """Check a population from the command line."""
    violations = check(Path(sys.argv[1]), members=int(sys.argv[2]), steps=int(sys.argv[3]))
    print("\n".join(violations) or "nothing is wrong")
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
