"""How the flows are offered: `serve` for a laptop, prefect.yaml for work pools."""
