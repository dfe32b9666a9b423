"""The bench: algorithms on toy problems, simulated in seconds, and what differs by more than luck.

`problems` are what is trained, `toys` the populations they are given to, `simulate` runs one,
`contestants` reads algorithms from text, `compare` judges the outcomes and `report` shows them.
"""
