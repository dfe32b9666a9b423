"""Clusters: where workers run."""

from romul_slurm.clusters.base import Cluster, Job, JobStatus
from romul_slurm.clusters.inline import Inline
from romul_slurm.clusters.local import Local
from romul_slurm.clusters.slurm import Slurm

__all__ = ["Cluster", "Inline", "Job", "JobStatus", "Local", "Slurm"]
