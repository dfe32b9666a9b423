"""`python -m romul_slurm.cli` is `romul`."""

import sys

from romul_slurm.cli import main

sys.exit(main())
