"""Ways to break the shim, each with the test program that must notice: `mutant` is what one is."""

from __future__ import annotations

from tests.shim.mutants import calls, durability
from tests.shim.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (*durability.MUTANTS, *calls.MUTANTS)

__all__ = ["MUTANTS", "Mutant"]
