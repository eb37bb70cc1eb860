"""A dict that cannot be changed: what a frozen codebook and a report hold."""

from __future__ import annotations

from typing import Any, NoReturn


class FrozenDict[K, V](dict[K, V]):
    """A dict of which every change is refused; it compares, pickles and serialises as one."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a survey and its codebook are never changed; make a new one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)
