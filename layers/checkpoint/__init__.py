"""Keep a network, export it and read it back."""

from .checkpoint import load as load, save as save
from .export import export as export
