"""Wiring: which task runs on which shard. One file per stage, `pipeline` for all, `cli` for the terminal."""
