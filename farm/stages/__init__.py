"""One plain class per arrow of the flow. A stage holds no Ray handle: it serves a loop, an actor and a test alike."""
