"""Members that are trained several times over, to tell luck from hyperparameters.

With `population.replicates=k` member g of the algorithm is trained as members gk .. gk + k - 1: at
each step from the same parent, with the same hyperparameters and other seeds. The algorithm sees
their mean, once all of them are done.
"""

from __future__ import annotations

import math

import msgspec

from romul_slurm.history import History, Result


class Replicates:
    """The members as they are trained, and as the algorithm sees them."""

    def __init__(self, trained: History, count: int):
        """Begin with members of which every `count` in a row are one to the algorithm."""
        self.count = count
        self.trained = trained
        self.seen = trained
        if count > 1:
            members = trained.members // count
            self.seen = History(trained.space, members, trained.steps, trained.seed)

    def group(self, member: int) -> int:
        """Return the number the algorithm knows a member by."""
        return member // self.count

    def of(self, group: int) -> range:
        """Return the members that are one to the algorithm."""
        return range(group * self.count, (group + 1) * self.count)

    def may_go_on(self, member: int) -> bool:
        """Whether all replicates of a member are as old as it is."""
        if self.count == 1:
            return True
        return self.seen.age(self.group(member)) >= self.trained.age(member)

    def complete(self, member: int, age: int) -> Result | None:
        """Take a member's new result in; return the mean if it was the last one at that age.

        One that came to nothing makes the mean come to nothing.
        """
        if self.count == 1:
            return self.trained.result(member, age)
        group = self.group(member)
        results = [self.trained.result(m, age) for m in self.of(group)]
        done = [result for result in results if result is not None]
        if len(done) < self.count:
            return None
        mean = math.fsum(result.score for result in done) / self.count
        parent = None if done[0].parent is None else self.group(done[0].parent)
        self.seen.add(group, msgspec.structs.replace(done[0], score=mean, parent=parent))
        return self.seen.result(group, age)
