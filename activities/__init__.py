"""The room with windows: all input and output happens here, behind the names of ``interlock.ports``."""
