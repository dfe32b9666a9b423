"""What a faulty controller, worker or disk would leave: one function for each rule of the checker.

Each changes a copy of a population that was done right, and stands under the words with which the
checker must name what is wrong.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from tests.chaos.logs import INBOX, OUTBOX, Record, encode
from tests.chaos.planting import Copy

Plant = Callable[[Copy], None]

PLANTS: dict[str, tuple[str, Plant]] = {}
"""Name -> words of the violation, and what plants it."""


def violates(words: str) -> Callable[[Plant], Plant]:
    def remember(function: Plant) -> Plant:
        PLANTS[function.__name__] = (words, function)
        return function

    return remember


def _resumed(record: Record) -> bool:
    return bool(record.get("resume"))


def _later(record: Record) -> bool:
    return record["age"] >= 2 and "decision" in record


def _unfinished(name: str, ending: str) -> Record:
    return {"is": "unfinished", "attempt": name, "ending": ending, "time": 0.0}


def _drop(*paths: str) -> Record:
    return {"is": "dropped", "paths": list(paths)}


# --- which steps count ---------------------------------------------------------------------------


@violates("has finished 4 of 5 steps")
def a_step_is_missing(c: Copy) -> None:
    c.records.pop(c.finish(c.step(0, 4)))


@violates("was never accounted for")
def an_attempt_has_no_end(c: Copy) -> None:
    c.records.pop(c.place("unfinished"))


@violates("was counted as finished twice")
def an_attempt_is_counted_twice(c: Copy) -> None:
    place = c.finish(c.step(1, 2))
    c.insert(place + 1, dict(c.records[place][1]))


@violates("which has finished 3")
def a_step_is_counted_twice(c: Copy) -> None:
    step = c.step(1, 2)
    place = c.finish(step)
    again = {**c.records[place][1], "attempt": step["attempt"].replace(".", ".9", 1)}
    c.insert(place + 1, again)
    c.insert(place + 1, {**step, "attempt": again["attempt"]})


@violates("was counted as finished, but nobody issued it")
def a_step_counts_that_nobody_issued(c: Copy) -> None:
    place = c.finish(c.step(1, 2))
    c.insert(place, {**c.records[place][1], "attempt": "1.999-0123abcd"})


@violates("but a superseded controller issued it")
def a_step_counts_that_a_superseded_controller_issued(c: Copy) -> None:
    name, record = c.records.pop(c.issue(c.step(0, 0)))
    c.tails[name].append(record)


@violates("was counted as finished after it had ended: lost")
def a_lost_attempt_counts(c: Copy) -> None:
    step = c.step(1, 2)
    c.insert(c.finish(step), _unfinished(step["attempt"], "lost"))


@violates("was counted as finished when its step had another attempt")
def an_attempt_counts_that_was_replaced(c: Copy) -> None:
    step = c.step(1, 2)
    c.insert(c.finish(step), {**step, "attempt": step["attempt"].replace(".", ".9", 1)})


@violates("ran at the same step")
def two_attempts_at_a_step_run_at_a_time(c: Copy) -> None:
    an_attempt_counts_that_was_replaced(c)


@violates("was issued twice")
def an_attempt_is_issued_twice(c: Copy) -> None:
    step = c.step(1, 2)
    c.insert(c.finish(step) + 1, dict(step))


@violates("was issued in segment")
def an_attempt_has_the_name_of_another_segment(c: Copy) -> None:
    step = c.step(1, 2)
    name = "77" + step["attempt"][1:]
    c.records[c.finish(step)][1]["attempt"] = name
    step["attempt"] = name


@violates("is not done")
def the_end_is_missing(c: Copy) -> None:
    c.records.pop(c.place("stopped"))


@violates("was given up")
def a_member_is_given_up(c: Copy) -> None:
    end = c.place("stopped")
    c.insert(end, {"is": "member-ended", "member": 1, "age": 5, "reason": "failed"})


@violates("which has ended")
def a_step_is_beyond_the_budget(c: Copy) -> None:
    parent = {**c.step(1, 4)["decision"], "parent": 1}
    record = {**c.step(1, 4), "age": 5, "attempt": "3.999-0123abcd", "decision": parent}
    c.insert(c.place("stopped"), record)


# --- decisions -----------------------------------------------------------------------------------


@violates("has not finished age")
def a_parent_is_not_finished(c: Copy) -> None:
    """Of another member that reaches that age only later."""
    for place, (_, record) in enumerate(c.records):
        if record["is"] == "assigned" and record["age"] and "decision" in record:
            for member in range(4):
                if c.finish(c.step(member, record["age"] - 1)) > place:
                    record["decision"]["parent"] = member
                    return
    raise AssertionError("no member was ahead of another")


@violates("its lineage comes to")
def a_parent_is_another_one(c: Copy) -> None:
    # the last decision of that age: by then all others have finished the age before
    records = [c.first_decision(c.step(member, 4)) for member in range(4)]
    record = max(records, key=c.issue)
    record["decision"]["parent"] = (record["decision"]["parent"] + 1) % 4


@violates("continues nobody at age")
def a_parent_is_lacking(c: Copy) -> None:
    c.first_decision(c.step(1, 4))["decision"]["parent"] = None


@violates("its lineage comes to")
def hyperparameters_are_others(c: Copy) -> None:
    c.first_decision(c.step(1, 2))["decision"]["hyperparameters"]["width"] += 0.5


@violates("outside the space: rate=")
def hyperparameters_are_outside_the_space(c: Copy) -> None:
    c.first_decision(c.step(1, 2))["decision"]["hyperparameters"]["rate"] = 0.11


@violates("outside the space: push is")
def a_hyperparameter_is_there_though_its_condition_does_not_hold(c: Copy) -> None:
    values = c.first_decision(c.step(1, 2))["decision"]["hyperparameters"]
    values["kind"] = "calm" if values["kind"] == "bold" else "bold"


@violates("keeps decision 1 of its step, but 0 is in force")
def a_retry_keeps_another_decision(c: Copy) -> None:
    c.records[c.place("assigned", _resumed)][1]["retries"] = 1


@violates("that was never decided")
def a_retry_keeps_what_was_never_decided(c: Copy) -> None:
    c.step(1, 2).pop("decision")


@violates("decides anew as decision 0, after 0")
def a_step_is_decided_twice(c: Copy) -> None:
    retry = c.records[c.place("assigned", _resumed)][1]
    retry["decision"] = c.first_decision(retry)["decision"]


@violates("when others are")
def a_member_is_too_far_ahead(c: Copy) -> None:
    config = c.directory / "config.yaml"
    config.write_text(config.read_text().replace("synchronous: false", "synchronous: true"))


@violates("its lineage comes to")
def a_score_is_wrong(c: Copy) -> None:
    c.records[c.finish(c.step(1, 2))][1]["score"] += 1e-9


# --- what is kept --------------------------------------------------------------------------------


@violates("it is the last of member 1")
def the_last_checkpoint_of_a_member_is_dropped(c: Copy) -> None:
    step = c.step(1, 2)
    c.insert(c.finish(step) + 1, _drop(f"{c.home(step)}/checkpoint"))


@violates("it is the best")
def the_best_checkpoint_is_dropped(c: Copy) -> None:
    finished = [(r["score"], r["attempt"]) for _, r in c.records if r["is"] == "finished"]
    best = c.records[c.place("assigned", lambda r: r["attempt"] == max(finished)[1])][1]
    while best["age"] == 4:  # it is its member's last, too: make an earlier one the best
        finished.remove(max(finished))
        best = c.records[c.place("assigned", lambda r: r["attempt"] == max(finished)[1])][1]
    c.insert(
        c.finish(c.step(best["member"], best["age"] + 1)) + 1, _drop(f"{c.home(best)}/checkpoint")
    )


@violates("an attempt that has not answered reads it")
def what_is_being_read_is_dropped(c: Copy) -> None:
    place = c.place("assigned", _resumed)
    c.insert(place + 1, _drop(c.records[place][1]["resume"]))


@violates("it is to be resumed")
def a_partial_checkpoint_that_is_needed_is_dropped(c: Copy) -> None:
    place = c.place("assigned", _resumed)
    c.insert(place, _drop(c.records[place][1]["resume"]))


@violates("it is being written")
def what_is_being_written_is_dropped(c: Copy) -> None:
    step = c.step(1, 2)
    c.insert(c.finish(step), _drop(f"{c.home(step)}/checkpoint"))


@violates("which was dropped")
def what_was_dropped_is_continued(c: Copy) -> None:
    step = c.first_decision(c.step(1, 2))
    parent = c.step(step["decision"]["parent"], 1)
    c.insert(c.issue(step), _drop(f"{c.home(parent)}/checkpoint"))


@violates("which is no checkpoint")
def something_outside_is_dropped(c: Copy) -> None:
    c.insert(c.place("stopped"), _drop("steps/../../../home/checkpoint"))


@violates("checkpoints are kept")
def nothing_is_dropped(c: Copy) -> None:
    c.records = [(name, r) for name, r in c.records if r["is"] != "dropped"]


@violates("resumes None, but the step's partial checkpoint is")
def a_step_begins_anew_although_it_was_saved(c: Copy) -> None:
    c.records[c.place("assigned", _resumed)][1]["resume"] = None


@violates("was lost, which nobody had damaged")
def a_checkpoint_is_lost(c: Copy) -> None:
    c.insert(c.place("stopped"), {"is": "checkpoint-lost", "member": 1, "age": 3})


@violates("which was known to be lost")
def what_was_lost_is_continued(c: Copy) -> None:
    step = c.first_decision(c.step(1, 2))
    parent = step["decision"]["parent"]
    c.insert(c.issue(step), {"is": "checkpoint-lost", "member": parent, "age": 2})


@violates("that it never had")
def a_checkpoint_is_lost_that_never_was(c: Copy) -> None:
    c.insert(c.place("stopped"), {"is": "checkpoint-lost", "member": 1, "age": 9})


@violates("could not continue")
def what_an_attempt_is_to_continue_is_missing(c: Copy) -> None:
    step = c.step(1, 2)
    c.insert(c.finish(step), _unfinished(step["attempt"], "orphaned"))


# --- workers -------------------------------------------------------------------------------------


@violates("was never found out")
def a_submission_is_not_settled(c: Copy) -> None:
    c.records.pop(c.place("workers-submitted"))


@violates("was never intended, or settled twice")
def a_submission_is_settled_twice(c: Copy) -> None:
    place = c.place("workers-submitted")
    c.insert(place, dict(c.records[place][1]))


@violates("but came to")
def a_submission_comes_to_other_workers(c: Copy) -> None:
    c.records[c.place("workers-submitted")][1]["jobs"]["1.1.9"] = "job"


@violates("was submitted again")
def a_worker_is_submitted_twice(c: Copy) -> None:
    place = c.place("workers-submitted")
    c.insert(place + 1, {**c.records[c.place("workers-intended")][1], "nonce": "another"})


@violates("who was submitted by nobody")
def a_worker_joins_that_nobody_submitted(c: Copy) -> None:
    joined = c.records[c.place("worker-joined")][1]
    c.insert(c.place("stopped"), {**joined, "worker": "1.7.7"})


@violates("who was submitted by a superseded controller only")
def a_worker_joins_that_a_superseded_controller_submitted(c: Copy) -> None:
    name, record = c.records.pop(c.place("workers-intended"))
    c.tails[name].append(record)


@violates("has not left")
def a_worker_does_not_leave(c: Copy) -> None:
    c.records.pop(c.place("worker-left"))


@violates("left, who is not there")
def a_worker_leaves_twice(c: Copy) -> None:
    place = c.place("worker-left")
    c.insert(place, dict(c.records[place][1]))


@violates("was released, who is not there")
def a_worker_is_released_that_has_left(c: Copy) -> None:
    record = {**c.records[c.place("worker-left")][1], "is": "worker-released"}
    c.insert(c.place("worker-left") + 1, record)


@violates("left, but")
def a_worker_leaves_with_its_step(c: Copy) -> None:
    lost = c.place("unfinished", lambda r: r["ending"] == "lost")
    worker = c.records[c.issue(c.records[lost][1])][1]["worker"]
    left = c.place("worker-left", lambda r: r["worker"] == worker)
    c.records.insert(left, c.records.pop(lost))


@violates("who is not there")
def a_step_is_given_to_nobody(c: Copy) -> None:
    c.step(1, 2)["worker"] = "1.7.7"


@violates("whose token is")
def a_step_is_given_to_a_predecessor(c: Copy) -> None:
    c.records[c.place("worker-joined")][1]["token"] = "00000000"


@violates("who was released")
def a_step_is_given_to_a_worker_that_was_released(c: Copy) -> None:
    step = c.step(1, 2)
    released = {"is": "worker-released", "worker": step["worker"], "time": 0.0, "reason": ""}
    c.insert(c.issue(step), released)


@violates("who has ")
def a_step_is_given_to_a_worker_that_has_one(c: Copy) -> None:
    an_attempt_counts_that_was_replaced(c)


# --- mailboxes -----------------------------------------------------------------------------------


def _letter(c: Copy, key: str, value: Any) -> None:
    step = c.step(1, 2)

    def change(letters: list[Record]) -> list[Record]:
        letter = next(r for r in letters if r.get("attempt") == step["attempt"])
        letter[key] = value
        return letters

    c.edit_mail(step["worker"], "inbox", INBOX, change)


@violates("was told hyperparameters=")
def a_worker_is_told_other_hyperparameters(c: Copy) -> None:
    _letter(c, "hyperparameters", {})


@violates("was told parent=")
def a_worker_is_told_another_parent(c: Copy) -> None:
    _letter(c, "parent", "steps/0001/m00/x/checkpoint")


@violates("was told seed=1 ")
def a_worker_is_told_another_seed(c: Copy) -> None:
    _letter(c, "seed", 1)


@violates("was told of 1.999-0123abcd, but the journal was not")
def a_worker_is_told_what_is_not_journalled(c: Copy) -> None:
    _letter(c, "attempt", "1.999-0123abcd")


@violates(", which is worker ")
def a_worker_is_told_what_is_anothers(c: Copy) -> None:
    """The last workers of two are told the same."""
    step = c.step(1, 2)
    others = {r["worker"] for _, r in c.records if r["is"] == "worker-joined"} - {step["worker"]}
    letter = {"is": "assign", "segment": 1, "attempt": step["attempt"], "parent": None}
    letter |= dict.fromkeys(("member", "age", "seed", "interval", "hyperparameters", "resume"))
    c.edit_mail(min(others), "inbox", INBOX, lambda letters: [*letters, letter])


@violates("did not report it")
def a_step_counts_that_was_not_reported(c: Copy) -> None:
    step = c.step(1, 2)
    name = step["attempt"]
    c.edit_mail(
        step["worker"],
        "outbox",
        OUTBOX,
        lambda r: [x for x in r if x["is"] != "report" or x["attempt"] != name],
    )


@violates(" reported 7 for ")
def another_score_was_reported(c: Copy) -> None:
    step = c.step(1, 2)
    report = {"is": "report", "attempt": step["attempt"], "outcome": "finished", "score": 7}
    report |= {"started": 0.0, "train_s": 0.0}
    c.edit_mail(step["worker"], "outbox", OUTBOX, lambda records: [*records, report])


@violates("after something of segment 9")
def a_worker_obeys_a_superseded_controller(c: Copy) -> None:
    step = c.step(1, 2)
    token = step["attempt"].rpartition("-")[2]
    names = [f"9.1-{token}", f"8.1-{token}"]
    started = [{"is": "started", "attempt": name} for name in names]
    c.edit_mail(step["worker"], "outbox", OUTBOX, lambda records: [*records, *started])


# --- directories ---------------------------------------------------------------------------------


@violates("is missing, the last of member 1")
def the_last_checkpoint_is_missing(c: Copy) -> None:
    shutil.rmtree(c.last(1))


@violates("does not hold its lineage")
def a_checkpoint_has_trained_an_epoch_twice(c: Copy) -> None:
    c.edit_json(c.last(1) / "trail.json", lambda t: [*t[:-1], {**t[-1], "epochs": [12, 12, 13]}])


@violates("does not hold its lineage")
def a_checkpoint_has_another_ancestor(c: Copy) -> None:
    c.edit_json(c.last(1) / "trail.json", lambda t: [{**t[0], "seed": 0}, *t[1:]])


@violates("romul.json is missing or damaged")
def a_checkpoint_has_no_manifest(c: Copy) -> None:
    (c.last(1) / "romul.json").unlink()


@violates("romul.json is missing or damaged")
def a_manifest_is_cut(c: Copy) -> None:
    path = c.last(1) / "romul.json"
    path.write_bytes(path.read_bytes()[:-5])


@violates("is not what its manifest says")
def a_manifest_has_another_checksum(c: Copy) -> None:
    path = c.last(1) / "romul.json"
    file = {"size": (c.last(1) / "trail.json").stat().st_size, "crc32": 1}
    path.write_bytes(encode({"files": {"trail.json": file}}))


@violates("but its manifest lists")
def a_checkpoint_has_a_file_too_many(c: Copy) -> None:
    (c.last(1) / "trail (copy).json").touch()


def _leave(c: Copy, name: str) -> None:
    (c.directory / c.home(c.step(1, 2)) / name).mkdir()


@violates("/checkpoint was left behind")
def a_checkpoint_is_left_that_nothing_needs(c: Copy) -> None:
    _leave(c, "checkpoint")


@violates("/checkpoint.tmp was left behind")
def an_unpublished_checkpoint_is_left(c: Copy) -> None:
    _leave(c, "checkpoint.tmp")


@violates("/partial-3 was left behind")
def a_partial_checkpoint_is_left(c: Copy) -> None:
    _leave(c, "partial-3")


@violates("trash/1 was not deleted")
def trash_is_left(c: Copy) -> None:
    (c.directory / "trash" / "1").mkdir()


@violates("report.json says score=1.5")
def a_report_for_people_is_wrong(c: Copy) -> None:
    path = c.directory / c.home(c.step(1, 2)) / "report.json"
    c.edit_json(path, lambda report: report | {"score": 1.5})


@violates("report.json is missing or damaged")
def a_report_for_people_is_missing(c: Copy) -> None:
    (c.directory / c.home(c.step(1, 2)) / "report.json").unlink()
