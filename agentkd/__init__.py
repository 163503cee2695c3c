"""agentkd: verified agent traces, distilled into small open models. May import: see docs/architecture.md."""

__version__ = "0.1.0"
