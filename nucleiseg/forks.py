"""Locks after a fork: a child process starts with locks that nobody holds.

Of the parent's threads a child has only the one that forked it, so a lock that another one held
would never be released.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Owner = TypeVar("Owner")

_owners: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def renew_in_child(owner: Owner, renew: Callable[[Owner], None]) -> None:
    """Call ``renew(owner)`` now, and in every child that is forked while the owner is alive."""
    _owners[owner] = renew
    renew(owner)


def _renew_all() -> None:
    for owner, renew in list(_owners.items()):
        renew(owner)


os.register_at_fork(after_in_child=_renew_all)
