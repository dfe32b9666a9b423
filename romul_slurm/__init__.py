"""romul_slurm: Population Based Training on preemptible Slurm jobs.

A training imports `Step` and `current_step` from here. Importing this package imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from romul_slurm.step import Step, current_step

__version__ = "0.1.0"
__all__ = ["Step", "current_step"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on demand, so that `romul status` and a waiting worker start fast
        from romul_slurm import step

        return getattr(step, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
