"""agentkd: verified agent traces, distilled into small open models."""

__version__ = "0.1.0"
