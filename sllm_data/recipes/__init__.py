"""The recipes: one YAML per published system; data, no code."""
