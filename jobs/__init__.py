"""One thin module a job, run as ``farm <job>``, ``python -m jobs.<job>`` or by ``ray job submit``."""
