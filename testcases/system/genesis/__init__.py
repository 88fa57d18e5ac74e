"""Tests of images/genesis that start the programs of its stages."""
