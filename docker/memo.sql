-- Prefect has a database of its own; completions live beside it.
CREATE DATABASE memo;
