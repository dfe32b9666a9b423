"""The sbatch script, as submitit writes it, for an array of workers.

submitit checks the parameters and writes the script; the command is our own worker module, so no
pickle lies on the disk and nothing has to be moved into place after sbatch has answered.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import SlurmExecutor

from romul_slurm.clusters.base import Job
from romul_slurm.errors import ConfigError

_OURS = (
    *("array", "job-name", "output", "error", "open-mode", "requeue", "no-requeue"),
    *("nodes", "ntasks", "ntasks-per-node", "parsable", "wait", "wrap", "clusters", "signal"),
)
"""sbatch options that a user cannot give, because workers depend on them."""


class WorkerExecutor(SlurmExecutor):
    """Writes scripts for workers; it submits and watches nothing itself."""

    def __init__(self, parameters: dict[str, Any]):
        """Check the parameters.

        Raises:
            ConfigError: naming what is wrong and what is valid.
        """
        super().__init__(folder=Path.cwd())
        more = parameters.pop("additional_parameters", None) or {}
        if not isinstance(more, dict):
            raise ConfigError(
                f"cluster.additional_parameters must be names and values, such as {{nice: 100}}, "
                f"got {more!r}"
            )
        extra = {str(key).replace("_", "-"): value for key, value in more.items()}
        taken = sorted(extra.keys() & set(_OURS))
        if taken:
            raise ConfigError(
                f"cluster.additional_parameters must not contain {', '.join(taken)}: workers "
                f"depend on it"
            )
        arguments = list(parameters.pop("srun_args", None) or [])
        if parameters.get("cpus_per_task"):  # from Slurm 22.05 on srun ignores what sbatch was told
            arguments.append(f"--cpus-per-task={parameters['cpus_per_task']}")
        given = {key: value for key, value in parameters.items() if value is not None}
        try:
            self.update_parameters(
                **self._convert_parameters(given),
                stderr_to_stdout=True,
                wckey=None,  # submitit's own, which a site may refuse
            )
        except ValueError as error:
            raise ConfigError(f"cluster: {error}") from error
        _check_one_line({k: v for k, v in given.items() if k != "setup"} | extra)
        self._arguments, self._extra = arguments, extra

    def script(self, jobs: list[Job]) -> str:
        """Return the script that starts these workers as one array."""
        prefix, log = jobs[0].worker.rpartition(".")[0], jobs[0].log
        assert [job.worker for job in jobs] == [f"{prefix}.{i}" for i in range(len(jobs))]
        output = _pattern(log.parent.with_name(f"{prefix}.")) + f"%a/{log.name}"
        # a restarted job would write where its predecessor may still be writing: we submit anew
        own = {"output": output, "no-requeue": True}
        self.parameters["job_name"] = jobs[0].nonce
        self.parameters["map_count"] = self.parameters["array_parallelism"] = len(jobs)
        self.parameters["additional_parameters"] = self._extra | own
        self.parameters["srun_args"] = [*self._arguments, "--output", output]
        return str(self._make_submission_file_text(_command(jobs[0], prefix), jobs[0].nonce))


def _check_one_line(parameters: dict[str, Any]) -> None:
    """Refuse values that would go on in the next line of the script, where a shell reads them."""
    for name, value in parameters.items():
        if "\n" in str(value):
            raise ConfigError(f"cluster.{name} must be one line, got {value!r}")


def _pattern(path: Path) -> str:
    """Return a path for --output, where Slurm replaces what follows a percent sign.

    Raises:
        ConfigError: for a backslash, with which Slurm replaces nothing at all, or a new line,
            where its options end.
    """
    if "\\" in str(path) or "\n" in str(path):
        raise ConfigError(
            f"a population on Slurm cannot be in a directory with a backslash or a new line in its "
            f"name: {str(path.parent.parent)!r}. Choose another dir=... or name=..."
        )
    return str(path).replace("%", "%%")


def options(script: str) -> list[str]:
    """Return a script's options as words of a command line, where they beat SBATCH_* variables."""
    lines = (line for line in script.splitlines() if line.startswith("#SBATCH "))
    return [shlex.split(line, comments=False)[1] for line in lines]


def _command(job: Job, prefix: str) -> str:
    """Return the worker's command line; the array's index completes its name."""
    words = job.command()
    at = words.index(job.worker)
    name = f"{shlex.quote(prefix)}.$SLURM_ARRAY_TASK_ID"
    return f"{shlex.join(words[:at])} {name} {shlex.join(words[at + 1 :])}"
