"""Values as text: the one spelling by which codes, levels and labels are compared.

A file may hold a code as ``1``, ``1.0`` or ``"1"``, depending on its format and on
whether another row is missing. All three are the label ``"1"`` here, so that a
survey read from csv, Stata or a DataFrame has the same levels.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from bayesmig.errors import SurveyError

_EXACT = 2.0**53


def text_of(value: Any) -> str:
    """Spell one value: whole numbers without a point, dates as ISO, text as it is."""
    match value:
        case str():
            return value
        case bool() | np.bool_():
            return "true" if value else "false"
        case int() | np.integer():
            return str(int(value))
        case float() | np.floating() | Decimal():
            number = float(value)
            return str(int(number)) if number.is_integer() else repr(number)
        case datetime():
            midnight = value.time() == datetime.min.time()
            return value.date().isoformat() if midnight else value.isoformat()
        case date():
            return value.isoformat()
        case _:
            return str(value)


def labels_of(values: pd.Series, *, where: tuple[str, ...] = ()) -> pd.Series:
    """Spell every value of a column; missing stays missing, and blank text is missing.

    Parameters
    ----------
    values
        Any column, shape ``(obs,)``.
    where
        File and column, for messages.

    Returns
    -------
    Series
        Text of dtype ``str``, shape ``(obs,)``, same index.

    Raises
    ------
    SurveyError
        Where two different values are spelt alike (the number 1 beside the text "1").
    """
    if isinstance(values.dtype, pd.StringDtype):
        return values.mask(values == "")
    whole = _whole_numbers(values)
    if whole is not None:
        return whole
    codes, uniques = pd.factorize(values, use_na_sentinel=True)
    texts = [text_of(u) for u in uniques]
    if len(set(texts)) < len(texts):
        twice = next(t for i, t in enumerate(texts) if t in texts[:i])
        raise SurveyError(
            f"two different values are both written {twice!r} (a number and a text?)",
            where=where,
            mend="store the column as one type",
        )
    spelt = pd.array([t or None for t in texts], dtype="str").take(codes, allow_fill=True)
    return pd.Series(spelt, index=values.index, name=values.name)


def _whole_numbers(values: pd.Series) -> pd.Series | None:
    """Spell a column of whole numbers without a Python loop; None where it is not one."""
    if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in "iuf":
        return None
    numbers = values.to_numpy()
    if numbers.dtype.kind in "iu":
        return values.astype("str")
    known = np.isfinite(numbers)
    inside = numbers[known]
    if np.isinf(numbers).any() or (inside % 1 != 0).any() or (np.abs(inside) > _EXACT).any():
        return None
    spelt: pd.Series = pd.Series(np.where(known, numbers, 0).astype("int64"), name=values.name)
    return spelt.set_axis(values.index).astype("str").where(known)


def numbers_or_text(values: pd.Series) -> pd.Series:
    """Bring a column to one of three kinds: ``int64``, ``float64`` or ``str``.

    True and false become 1 and 0; nullable numbers become floats with NaN; categories
    become their values; dates and mixed columns become text; blank text is missing.
    """
    kind = values.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return numbers_or_text(values.astype(kind.categories.dtype))
    if isinstance(kind, pd.StringDtype):
        return labels_of(values.astype("str"))
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_numeric_dtype(kind):
        return _plain_numbers(values)
    if isinstance(kind, np.dtype) and kind.kind == "O":
        inferred = pd.api.types.infer_dtype(values, skipna=True)
        if inferred in ("integer", "floating", "mixed-integer-float", "decimal", "boolean"):
            return _plain_numbers(values)
        if inferred == "empty":
            return values.astype("float64")
    return labels_of(values)


def _plain_numbers(values: pd.Series) -> pd.Series:
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iub":
        wide = values.dtype == np.uint64 and values.max() > np.iinfo("int64").max
        return values.astype("float64" if wide else "int64")
    known = values.notna()
    if not isinstance(values.dtype, np.dtype) and known.all():
        return numbers_or_text(pd.Series(values.to_numpy(dtype=_numpy_kind(values)), values.index))
    if values.dtype == object:
        values = values.where(known, np.nan)
        return pd.Series([float(v) for v in values], index=values.index, name=values.name)
    numbers = values.to_numpy(dtype="float64", na_value=np.nan)
    return pd.Series(numbers, index=values.index, name=values.name)


def _numpy_kind(values: pd.Series) -> str:
    return "int64" if pd.api.types.is_integer_dtype(values.dtype) else "float64"


def numbers_if_all(values: pd.Series) -> pd.Series:
    """Turn text into numbers where all of it is numbers; otherwise leave the column alone."""
    codes, texts = pd.factorize(values)
    numbers = pd.to_numeric(pd.Series(texts, dtype="str"), errors="coerce")
    if numbers.isna().any():
        return values
    padded = np.append(numbers.to_numpy(dtype="float64"), np.nan)
    whole = (codes >= 0).all() and numbers.dtype.kind == "i"
    found = padded[codes].astype("int64") if whole else padded[codes]
    return pd.Series(found, index=values.index, name=values.name)
