"""`hydra/launcher=romul`: the populations of a multirun run side by side, in this process.

Hydra imports this for every app that is started, so it imports nothing of the library before it is
used.
"""

# no `from __future__ import annotations`: dataclasses would look this module up in sys.modules,
# where it is not yet while Hydra scans plugins
from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn


@dataclass
class RomulLauncherConf:
    """It has no settings: what a population needs is in its own configuration."""

    _target_: str = "hydra_plugins.romul_launcher.RomulLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="romul", node=RomulLauncherConf, provider="romul_slurm"
)


class RomulLauncher(BasicLauncher):
    """Runs jobs one after another; populations that they return are then run together."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; a population's job returns its best score."""
        from romul_slurm.multirun import run_together

        jobs = super().launch(job_overrides, initial_job_idx)
        assert self.config is not None
        run_together(jobs, str(self.config.hydra.sweep.dir), first=initial_job_idx == 0)
        return jobs
