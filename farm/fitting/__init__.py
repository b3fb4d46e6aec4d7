"""Training what a method learns: a ``Task`` says what a step costs, ``Fit`` walks the steps, alone or with others."""
