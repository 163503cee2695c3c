"""Model servers: start, await and stop llama.cpp or vLLM. May import: runs."""
