"""Clusters: where workers run."""

from romul_slurm.clusters.base import Cluster, Ended, Job
from romul_slurm.clusters.inline import Inline
from romul_slurm.clusters.local import Local

__all__ = ["Cluster", "Ended", "Inline", "Job", "Local"]
