"""Run one of the benchmarks: ``python -m benchmarks.steps NAME``."""

import argparse
import importlib

NAMES = (
    "share",
    "kernels",
    "label",
    "measure",
    "folder",
    "engines",
    "compare",
    "device",
    "roofline",
)
"""Modules with ``add_arguments(parser)`` and ``main(options)``."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps")
    commands = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    modules = {name: importlib.import_module(f"benchmarks.steps.{name}") for name in NAMES}
    for name, module in modules.items():
        words = module.__doc__.splitlines()[0]
        command = commands.add_parser(name, help=words, description=module.__doc__)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(command)
    options = parser.parse_args()
    modules[options.name].main(options)


if __name__ == "__main__":
    main()
