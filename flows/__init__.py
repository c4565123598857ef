"""Prefect flows: they call the steps of sllm_data.steps, and nothing else."""
