"""Algorithms: what a member does next, as a pure function of the history."""

from romul_slurm.algorithms.base import Algorithm
from romul_slurm.algorithms.constant import Constant
from romul_slurm.algorithms.de import De
from romul_slurm.algorithms.grid import Grid
from romul_slurm.algorithms.manual import Manual
from romul_slurm.algorithms.pbt import Pbt
from romul_slurm.algorithms.random import Random
from romul_slurm.algorithms.romul import Romul

__all__ = ["Algorithm", "Constant", "De", "Grid", "Manual", "Pbt", "Random", "Romul"]
