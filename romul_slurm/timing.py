"""All time constants in one place; seconds throughout.

What users may want to change is in the configuration (`cluster.*`, `population.*`); these are the
constants of the protocol itself, on which controllers and workers must agree.
"""

LEASE_S = 30.0
"""A controller that has not refreshed its lease for this long may be superseded."""

BEAT_S = 2.0
"""How often a controller says that it is there."""

ALIVE_S = 5.0
"""How often a worker says that it is there, and that its task passed a safe point."""

SILENCE_S = 60.0
"""After this silence a worker's step is given to a free one, and a worker of which no scheduler can
tell us anything is given up."""

REPEAT_S = 2.0
"""An assignment or a report is repeated until answered, at first after this long, then doubling."""

REPEAT_MAX_S = 60.0
"""The longest pause between two repetitions."""

VOLUNTEER_SCAN_S = 1.0
"""How often the controller looks for volunteers (`romul work`)."""

LIVENESS_S = 0.2
"""How often a cluster is asked which local jobs live."""

VIEW_S = 0.5
"""How often status.json and the terminal are refreshed."""

SAFE_POINT_S = 0.2
"""At most this often does a safe point look at files for a reason to stop."""

POLL_FRACTION = 0.1
"""Whoever waits polls again after this fraction of the time waited so far: the cost of a poll is
at most a tenth of what is waited for, and a long wait takes only logarithmically many polls."""

POLL_MIN_S = 0.0005
"""The shortest pause between two polls."""


def poll_pause(waited: float, longest: float) -> float:
    """Return how long to sleep before polling again after `waited` seconds, `longest` at most."""
    return min(max(POLL_FRACTION * waited, POLL_MIN_S), longest)
