"""hitools: generate whole heavy-ion collision events and prove that they are good."""

__version__ = "0.1.0"
