"""Tests of edge/build/mlc_llm."""
