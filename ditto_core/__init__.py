"""The method: knowledge, simulation, dataset, training, evaluation. Knows nothing of how it is orchestrated."""
