#!/bin/sh
# Prints a Python that can build and run the package, or says in one sentence what is missing.
set -eu

stop() {
  echo "nucleiseg: $1" >&2
  exit 1
}

recent() {
  "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 10))' 2>/dev/null
}

compiles() {
  printf '#include <optional>\nint main() { return std::optional<int>(0).value(); }\n' |
    "$1" -std=c++17 -fsyntax-only -x c++ - 2>/dev/null
}

first() {
  test=$1
  shift
  for candidate in "$@"; do
    if "$test" "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

python=$(first recent ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}) ||
  stop "needs Python 3.10 or newer, but ${PYTHON:-python3} is older or missing; install one, or name one: make PYTHON=/path/to/python3"

"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  stop "$python lacks the module venv; install it (Debian and Ubuntu: apt install python3-venv)"

headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -f "$headers/Python.h" ] ||
  stop "$python lacks its C headers ($headers/Python.h); install them (Debian and Ubuntu: apt install python3-dev)"

first compiles ${CXX:-c++ g++ clang++} >/dev/null ||
  stop "needs a C++17 compiler, but ${CXX:-c++, g++ and clang++} cannot compile; install one (Debian and Ubuntu: apt install g++), or name one: CXX=/path/to/compiler"

echo "$python"
