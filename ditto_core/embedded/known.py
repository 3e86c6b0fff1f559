from ditto_core.embedded.documents import World


def load_world() -> World:
    return World((), ())
