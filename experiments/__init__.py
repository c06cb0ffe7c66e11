"""Train, compress, compare and report from the command line; a room for each verb above the lab."""

import moved as _moved  # noqa: F401  # old module paths go on importing
