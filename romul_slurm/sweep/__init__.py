"""The sweeper `hydra/sweeper=romul`: any Hydra app of the user's becomes a population."""
