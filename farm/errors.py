"""What can go wrong, as a tree. A job catches ``FarmError`` alone, prints it and exits 2.

    FarmError                 something a user can cause and mend
    ├── ConfigError           a setting is unknown, out of range or contradicts another
    ├── DataError             a folder, photograph, mask or split is not what it should be
    ├── WeightsError          model weights are missing, unsafe or do not fit the model
    ├── RowError              a batch does not keep the row contract (names stage and column)
    ├── RunError              a run folder belongs to another config, or is damaged
    ├── StoreError            the disk or object store cannot be read or written now
    └── ResourceError         a run asks for more than the cluster has

Anything else that is raised is a defect of ours and keeps its traceback.
"""


class FarmError(Exception):
    """Base of all errors that a user can cause; its text says where, what was found, what is right, what to do."""


class ConfigError(FarmError):
    """A config file or override is wrong; the text lists every wrong setting at once."""


class DataError(FarmError):
    """A dataset folder, photograph, mask or split cannot be used as it is."""


class WeightsError(FarmError):
    """Model weights are missing, in an unsafe format, or do not fit."""


class RowError(FarmError):
    """A batch of rows breaks the contract of ``farm.rows``."""


class RunError(FarmError):
    """A run folder was made by another config, is incomplete for what was asked, or is damaged."""


class StoreError(FarmError):
    """The disk or object store of a run cannot be read or written now; nothing that is committed is lost."""


class ResourceError(FarmError):
    """A run asks for more CPUs, GPUs or memory than the cluster has."""
