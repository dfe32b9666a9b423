"""The launcher with the protocol's long waits cut short, so that a campaign sees them often.

Workers do not use these two; how often they and the controller give a sign of life stays.
"""

from __future__ import annotations

from romul_slurm import timing

timing.LEASE_S = 7.0
timing.SILENCE_S = 12.0

if __name__ == "__main__":
    from launchers.pbt import main

    main()
