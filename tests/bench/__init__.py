"""`make bench`: what the agent costs and how quick it is, measured in the lab."""
