"""Tests of edge.clinical.encounter."""
