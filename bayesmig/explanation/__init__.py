"""What a theory says, in words and formulas, before it is fitted to anything."""
