"""What PyAnamo's two scripts share; imports point from the scripts down to `item`."""

__version__ = "0.1.0"
