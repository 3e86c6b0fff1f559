"""The method: knowledge, simulation, dataset, training, evaluation. Knows nothing of how it is orchestrated."""

import os

# A model's threads that wait by spinning starve whatever else wants a core, such as the Prefect server or a second shard. Beside
# another process on 2 cores a training was 3 to 7 times slower, and replies cost 6 to 7 times the CPU. Waiting asleep is free
# on a quiet machine. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
