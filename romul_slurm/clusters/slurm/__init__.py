"""Workers as jobs of a Slurm cluster."""

from romul_slurm.clusters.slurm.cluster import Slurm

__all__ = ["Slurm"]
