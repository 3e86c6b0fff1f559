"""The method: knowledge, simulation, dataset, training, evaluation. Knows nothing of how it is orchestrated."""

import os

# A model's threads that wait by spinning starve whatever else wants a core, such as the Prefect server or a second shard: 3 to 7
# times slower, seen on 2 cores in training and in answering. Waiting asleep costs nothing on a quiet machine. Read with torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
