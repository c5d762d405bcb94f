"""A library with a module for each database, as many have."""

import importlib
import os


def connect():
    return module().connect(os.environ["DATABASE"])


def module():
    return importlib.import_module({"sqlite": "store_lite", "postgres": "store_pg"}[os.environ["BACKEND"]])
