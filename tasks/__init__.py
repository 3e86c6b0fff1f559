"""Thin Prefect tasks: read a shard, call ditto_core, write a shard, return a `ShardRef`."""
