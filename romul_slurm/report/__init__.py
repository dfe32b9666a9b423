"""Pictures of populations: `romul report` writes a page, `romul plot` a figure for print."""
