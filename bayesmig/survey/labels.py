"""Values as text: the one spelling by which codes, levels and labels are compared.

A file may hold a code as ``1``, ``1.0`` or ``"1 "``, depending on its format and on
whether another row is missing. All of them are the label ``"1"`` here, so that a
survey read from csv, Stata or a DataFrame has the same levels. Leading zeros are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bayesmig.errors import SurveyError, rows_text

_EXACT = 2.0**53
_PLAIN = re.compile(r"0|[1-9][0-9]*")
_POINTED = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+)|\+[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_WORDS = {"true": "1", "false": "0"}
#: What no label may hold: control characters, NUL above all.
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"


def text_of(value: Any) -> str:
    """Spell one value: whole numbers without a point, true as 1, dates as ISO, text as it is."""
    match value:
        case str():
            return value
        case bool() | np.bool_():
            return str(int(value))
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


def spelling(text: str) -> str:
    """Spell a text as the number that it may stand for: ``"1.0 "`` is 1, ``"007"`` itself."""
    text = text.strip()
    return _shortest(text) if _POINTED.fullmatch(text) else text


def _shortest(number: str) -> str:
    exact = Decimal(number)
    return str(int(exact)) if exact == exact.to_integral_value() else text_of(float(number))


def one_spelling(values: pd.Series, *, where: tuple[str, ...] = ()) -> pd.Series:
    """Give every identifier of a text column one spelling.

    Blanks around a text are no part of it. ``1.0`` is 1 and, where all texts are numbers,
    ``1e+05`` is 100000 and true is 1: so would a DataFrame hold them.

    Parameters
    ----------
    values
        Text with missing, shape ``(obs,)``.
    where
        File and column, for messages.

    Raises
    ------
    SurveyError
        Where two texts are the same number without being spelt alike (``7`` and ``07``:
        one place, or two?), or where a text holds control characters.
    """
    codes, found = pd.factorize(values)
    texts = pd.Series(found, dtype="str").str.strip()
    _refuse_control(texts, codes, where)
    spelt = _spellings(texts)
    _refuse_two_spellings(texts, spelt, codes, where)
    known = spelt.mask(spelt == "").array.take(codes, allow_fill=True)
    return pd.Series(known, index=values.index, name=values.name)


def _spellings(texts: pd.Series) -> pd.Series:
    lower = texts.str.lower()
    if lower.isin(list(_WORDS)).all():
        return lower.map(_WORDS).astype("str")
    texts = _changed(texts, _like(texts, _POINTED), _shortest)
    if not _like(texts, _NUMBER).all():
        return texts
    return _changed(texts, lower.str.contains("e", regex=False), _shortest)


def _like(texts: pd.Series, pattern: re.Pattern[str]) -> pd.Series:
    return texts.str.fullmatch(pattern.pattern)


def _changed(texts: pd.Series, these: pd.Series, change: Callable[[str], str]) -> pd.Series:
    if not these.any():
        return texts
    changed = texts.astype(object)
    changed[these] = [change(t) for t in texts[these]]
    return changed.astype("str")


def _refuse_control(texts: pd.Series, codes: npt.NDArray[Any], where: tuple[str, ...]) -> None:
    bad = texts.str.contains(_CONTROL)
    if bad.any():
        rows = np.flatnonzero(np.isin(codes, np.flatnonzero(bad)))
        raise SurveyError(
            f"the text {texts[bad].iloc[0]!r} holds characters that are no text",
            where=(*where, rows_text(rows.tolist())),
            mend="remove control characters (is the file damaged, or in another encoding?)",
        )


def _refuse_two_spellings(
    texts: pd.Series, spelt: pd.Series, codes: npt.NDArray[Any], where: tuple[str, ...]
) -> None:
    """Refuse texts that are equal as numbers, but for ``1`` and ``1.0``."""
    numeric = _like(spelt, _NUMBER)
    if _like(texts, _PLAIN).all() or not numeric.any():
        return
    labels = spelt[numeric]
    numbers = labels.str.replace(r"^0+(?=[0-9])", "", regex=True)
    numbers = _changed(numbers, ~_like(numbers, _PLAIN), lambda t: format(Decimal(t), "f"))
    numbers = _changed(numbers, numbers.str.contains(".", regex=False), _without_zeros)
    # Of 1.1 and 1.10, which may be the parts of a place's number, one would be lost.
    told = labels.where(~numbers.str.contains(".", regex=False), texts[numeric])
    pairs = pd.DataFrame({"number": numbers, "label": told}).drop_duplicates()
    again = pairs["number"].duplicated(keep=False)
    if again.any():
        alike = pairs[pairs["number"] == pairs["number"][again].iloc[0]]
        rows = np.flatnonzero(np.isin(codes, alike.index))
        raise SurveyError(
            f"{' and '.join(map(repr, alike['label']))} are the same number: one label, or two?",
            where=(*where, rows_text(rows.tolist())),
            mend="spell it in one way, or make the labels differ by more than zeros",
        )


def _without_zeros(number: str) -> str:
    return number.rstrip("0").rstrip(".")


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
        stripped = values.str.strip()
        return stripped.mask(stripped == "")
    whole = _whole_numbers(values)
    if whole is not None:
        return whole
    codes, uniques = pd.factorize(values, use_na_sentinel=True)
    texts = [text_of(u).strip() for u in uniques]
    different = {u.strip() if isinstance(u, str) else u for u in uniques}
    if len(set(texts)) < len(different):
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

    Raises
    ------
    SurveyError
        Where the values are neither: complex numbers, lists, tables.
    """
    try:
        return _numbers_or_text(values)
    except (TypeError, NotImplementedError):
        one = next((type(v).__name__ for v in values if v is not None), "nothing")
        raise SurveyError(
            f"the column {values.name!r} holds values of the kind {one}; numbers or text "
            "were expected",
            where=f"column {values.name!r}",
            mend="leave it out (state keep = [...]), or spread it over columns of its own",
        ) from None


def _numbers_or_text(values: pd.Series) -> pd.Series:
    kind = values.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return _numbers_or_text(values.astype(kind.categories.dtype))
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
    if pd.api.types.is_complex_dtype(values.dtype):
        raise TypeError("complex numbers have no order")
    if values.dtype == np.float64:
        return values
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iub":
        wide = values.dtype == np.uint64 and values.max() > np.iinfo("int64").max
        return values.astype("float64" if wide else "int64")
    known = values.notna()
    if not isinstance(values.dtype, np.dtype) and known.all():
        return _numbers_or_text(pd.Series(values.to_numpy(dtype=_numpy_kind(values)), values.index))
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
