"""The safe formula language: text from model files and codebooks, parsed, never run.

Two small languages share one whitelist of Python syntax.

*Arithmetic* (derived columns, arguments of transforms): numbers, column names,
``+ - * / **`` and calls of named functions. It becomes an `ast.expr` that the caller
walks; nothing is ever compiled or evaluated by Python.

*Formulas* (utilities): Wilkinson algebra over factors, ``+ - : * **``, where a factor
is a column or a call of an allowed transform. It becomes an explicit list of terms,
so that formulaic later sees only ``a + b + a:b`` over factors that were vetted here.

Whether a name is a column shows when the formula meets a survey: a name that is none,
that of a Python variable included, is a `DesignError` there, which gives the nearest.
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bayesmig.errors import SpecError, nearest

MAX_LENGTH = 2_000
MAX_DEPTH = 20
MAX_TERMS = 300
MAX_EXPONENT = 10
MAX_DEGREE = 50

#: Transforms of the formula language (each of one column) and their keywords.
TRANSFORMS: Mapping[str, frozenset[str]] = {
    "C": frozenset({"reference"}),
    "scale": frozenset(),
    "center": frozenset(),
    "log": frozenset(),
    "log1p": frozenset(),
    "sqrt": frozenset(),
    "square": frozenset(),
    "poly": frozenset({"degree"}),
    "bs": frozenset({"df", "degree", "lower_bound", "upper_bound"}),
}

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
#: Transforms that learn numbers from the column.
_LEARNT = frozenset({"scale", "center"})


@dataclass(frozen=True, slots=True)
class Factor:
    """One vetted factor of a term: a column, or a transform of columns.

    Attributes
    ----------
    name
        The canonical text, used as the label of the coefficient.
    tree
        Its vetted syntax tree.
    columns
        The columns it reads, in order of appearance.
    """

    name: str
    tree: ast.expr
    columns: tuple[str, ...]

    @property
    def reference(self) -> str | float | None:
        """The stated reference level, where the factor is ``C(column, reference=...)``."""
        if isinstance(self.tree, ast.Call) and _call_name(self.tree) == "C":
            return _literal(self.tree.keywords[0].value)
        return None


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula as explicit terms.

    Attributes
    ----------
    text
        What the user wrote.
    intercept
        ``True`` or ``False`` where the text says ``1`` or ``0``, else ``None``.
    terms
        Each a tuple of factors, whose product is the term.
    """

    text: str
    intercept: bool | None
    terms: tuple[tuple[Factor, ...], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the formula reads, each once."""
        return tuple(dict.fromkeys(c for term in self.terms for f in term for c in f.columns))

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The distinct factors, in order of appearance."""
        return tuple({f.name: f for term in self.terms for f in term}.values())


def parse_arithmetic(text: str, functions: Iterable[str], *, where: str = "") -> ast.expr:
    """Parse an arithmetic expression over columns and allowed functions.

    Parameters
    ----------
    text
        For instance ``"scale(log(consumption), within=period)"``.
    functions
        The function names that may be called.
    where
        File and key, for the error message.

    Returns
    -------
    ast.expr
        A tree that holds only names, numbers, strings, the operators
        ``+ - * / **``, and calls of allowed functions.

    Raises
    ------
    SpecError
        Where the text holds anything else, or is too long or too deep.
    """
    _bounded(text, where)
    tree = _python_tree(text, where)
    vet_arithmetic(tree, functions, text, where=where)
    return tree


def vet_arithmetic(tree: ast.expr, functions: Iterable[str], text: str, *, where: str = "") -> None:
    """Refuse a tree that holds anything but what `parse_arithmetic` lets through.

    Raises
    ------
    SpecError
        Which quotes ``text``, what the user wrote.
    """
    _vet(tree, frozenset(functions), text, where)


def columns_of(tree: ast.expr) -> tuple[str, ...]:
    """The column names that an arithmetic tree reads, each once, in order."""
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    names = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called)
    in_order = sorted(names, key=lambda n: (n.lineno, n.col_offset))
    return tuple(dict.fromkeys(n.id for n in in_order))


def parse_formula(text: str, *, where: str = "") -> Formula:
    """Parse a formula into explicit terms.

    Parameters
    ----------
    text
        For instance ``"1 + female * education + poly(age, degree=2)"``.
    where
        File and key, for the error message.

    Raises
    ------
    SpecError
        Where the text is not in the language; nothing of it has been run.
    """
    _bounded(text, where)
    return _FormulaParser(text, where).parse()


# --------------------------------------------------------------------- arithmetic


def _bounded(text: str, where: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise SpecError("a formula is empty", where=where, mend="write at least '1'")
    if len(text) > MAX_LENGTH:
        raise SpecError(
            f"a formula has {len(text):,} characters; at most {MAX_LENGTH:,} are read",
            where=where,
            mend="derive columns in the codebook and use their names",
        )
    depth = deepest = 0
    for char in text:
        depth += (char == "(") - (char == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise SpecError(
            f"a formula nests {deepest} brackets deep; at most {MAX_DEPTH} are read", where=where
        )


def python_tree(text: str, refusal: Callable[[Exception], SpecError]) -> ast.expr:
    """Parse one Python expression, which nothing ever runs.

    Parameters
    ----------
    text
        The expression.
    refusal
        Makes the error where it does not parse.
    """
    try:
        with warnings.catch_warnings():
            # Advice to programmers: "\d" in a text, a number that is called.
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        raise refusal(err) from None


def _python_tree(text: str, where: str) -> ast.expr:
    return python_tree(
        text, lambda err: _refused(text, f"it does not parse ({type(err).__name__})", where)
    )


def _refused(text: str, why: str, where: str) -> SpecError:
    shown = text if len(text) <= 80 else text[:77] + "…"
    return SpecError(
        f"{shown!r} is not in the formula language: {why}",
        where=where,
        mend="use columns, numbers, + - * : ** and the listed transforms; "
        "derive anything else in the codebook",
    )


def _call_name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _literal(node: ast.expr) -> str | float:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
        return -node.value  # type: ignore[attr-defined,no-any-return]
    return node.value  # type: ignore[attr-defined,no-any-return]


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
        return isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return isinstance(node, ast.Constant) and type(node.value) in (int, float, str)


def _vet(node: ast.expr, functions: frozenset[str], text: str, where: str, depth: int = 0) -> None:
    """Refuse every kind of syntax that is not on the whitelist."""
    if depth > MAX_DEPTH * 4:
        raise _refused(text, "it is nested too deeply", where)

    def go(child: ast.expr) -> None:
        _vet(child, functions, text, where, depth + 1)

    match node:
        case ast.Name(id=name):
            if name.startswith("__"):
                raise _refused(text, f"the name {name!r} is not a column", where)
        case ast.Constant(value=value):
            if type(value) not in (int, float, str) or (type(value) is int and abs(value) > 1e15):
                raise _refused(text, f"the literal {value!r} is not a plain number or text", where)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            go(operand)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _ARITHMETIC):
            go(left)
            go(right)
            if isinstance(op, ast.Pow):
                _vet_power(left, right, text, where)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            if name not in functions:
                raise _refused(
                    text, f"{name}() is not allowed; {nearest(name, sorted(functions))}", where
                )
            for arg in args:
                go(arg)
            for key in keywords:
                if key.arg is None:
                    raise _refused(text, "** in a call is not allowed", where)
                go(key.value)
        case _:
            raise _refused(text, f"{_kind(node)} is not allowed", where)


def _vet_power(base: ast.expr, exponent: ast.expr, text: str, where: str) -> None:
    small = (
        _is_literal(exponent)
        and isinstance(_literal(exponent), int | float)
        and abs(float(_literal(exponent))) <= MAX_EXPONENT
    )
    if not small:
        raise _refused(text, f"a power must be a number of at most {MAX_EXPONENT}", where)
    # Towers of whole numbers, ((9**10)**10)**10, would be computed digit by digit.
    if not (_is_literal(base) or columns_of(base)):
        raise _refused(text, "it takes a power of a power of numbers", where)


def _kind(node: ast.expr) -> str:
    kinds = {"Attribute": "attribute access", "Subscript": "indexing", "Lambda": "a function"}
    kind = type(node).__name__
    return kinds.get(kind, kind.lower())


# ----------------------------------------------------------------------- formulas

_Terms = dict[frozenset[str], tuple[Factor, ...]]
_ONE: frozenset[str] = frozenset()


def _shown(term: tuple[Factor, ...]) -> str:
    return ":".join(factor.name for factor in term)


class _FormulaParser:
    """Recursive descent over ``sum := product (± product)*`` and tighter levels.

    Precedence, loosest first: ``+ -``, ``*``, ``:``, ``**``, as in R and formulaic.
    """

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self.tokens = self._tokenize()
        self.at = 0
        self.intercept: bool | None = None
        self.removed: list[str] = []

    def parse(self) -> Formula:
        terms = self._sum(top=True)
        if self.at < len(self.tokens):
            raise self._no(f"unexpected {self.tokens[self.at].string!r}")
        if self.removed and not terms:
            raise self._no(f"it takes {', '.join(self.removed)} away again, and nothing is left")
        if _ONE in terms:
            del terms[_ONE]
        self._refuse_shadowed({f.name: f for term in terms.values() for f in term}.values())
        return Formula(self.text, self.intercept, tuple(terms.values()))

    def _refuse_shadowed(self, factors: Iterable[Factor]) -> None:
        """Refuse a column that has the name of a transform beside it: one hides the other."""
        trees = [f.tree for f in factors]
        called = {_call_name(n) for t in trees for n in ast.walk(t) if isinstance(n, ast.Call)}
        called |= {"contr"} if "C" in called else set()  # formulaic's own, inside C()
        both = sorted(called.intersection(c for t in trees for c in columns_of(t)))
        if both:
            raise self._no(
                f"{both[0]!r} is a column here and a transform as well; derive the column "
                f"under another name in the codebook, for instance {both[0]}_"
            )

    def _no(self, why: str) -> SpecError:
        return _refused(self.text, why, self.where)

    def _tokenize(self) -> list[tokenize.TokenInfo]:
        skip = {tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT}
        allowed = {"+", "-", "*", ":", "**", "(", ")", ",", "=", "/"}
        text = " ".join(self.text.split())
        try:
            found = list(tokenize.generate_tokens(io.StringIO(text).readline))
        except (tokenize.TokenError, SyntaxError):
            raise self._no("brackets or quotes do not close") from None
        except ValueError as err:
            raise self._no(f"it is no text ({type(err).__name__})") from None
        tokens = [t for t in found if t.type not in skip]
        for t in tokens:
            plain = t.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING)
            if not plain and t.string not in allowed:
                raise self._no(f"{t.string!r} is not allowed")
            if t.type == tokenize.NAME and (keyword.iskeyword(t.string) or t.string[:2] == "__"):
                raise self._no(f"{t.string!r} is not a column name")
            read = unicodedata.normalize("NFKC", t.string)
            if t.type == tokenize.NAME and read != t.string:
                # Python itself would read the other name, silently.
                raise self._no(f"the name {t.string!r} is read as {read!r}: rename the column so")
        self.source = text
        return tokens

    def _peek(self) -> str:
        return self.tokens[self.at].string if self.at < len(self.tokens) else ""

    def _accept(self, *strings: str) -> str:
        if self._peek() in strings and self.tokens[self.at].type == tokenize.OP:
            self.at += 1
            return self.tokens[self.at - 1].string
        return ""

    def _sum(self, *, top: bool = False) -> _Terms:
        terms: _Terms = {}
        sign = self._accept("+", "-") or "+"
        while True:
            part, number = self._term()
            if number is not None:
                if not top:
                    raise self._no("0 and 1 may stand only at the top level")
                self._set_intercept((number == 1) == (sign == "+"))
            elif sign == "+":
                terms.update({k: v for k, v in part.items() if k not in terms})
            else:
                taken = [_shown(v) for k, v in terms.items() if k in part]
                self.removed += taken
                terms = {k: v for k, v in terms.items() if k not in part}
            sign = self._accept("+", "-")
            if not sign:
                return terms

    def _set_intercept(self, asked: bool) -> None:
        if self.intercept not in (None, asked):
            raise self._no("it asks for a constant and for none")
        self.intercept = asked

    def _term(self) -> tuple[_Terms, int | None]:
        if self.at < len(self.tokens) and self.tokens[self.at].type == tokenize.NUMBER:
            number = self.tokens[self.at].string
            after = self.tokens[self.at + 1].string if self.at + 1 < len(self.tokens) else ""
            if number not in ("0", "1") or after in ("*", ":", "**"):
                raise self._no(f"the number {number} is not a term (only 0 and 1 are)")
            self.at += 1
            return {}, int(number)
        terms = self._interaction()
        while self._accept("*"):
            right = self._interaction()
            self._refuse_itself(terms, right)
            both = self._cross(terms, right)
            terms = terms | {k: v for k, v in right.items() if k not in terms}
            terms |= {k: v for k, v in both.items() if k not in terms}
        return terms, None

    def _interaction(self) -> _Terms:
        terms = self._power()
        while self._accept(":"):
            right = self._power()
            self._refuse_itself(terms, right)
            terms = self._cross(terms, right)
        return terms

    def _power(self) -> _Terms:
        base = self._atom()
        if not self._accept("**"):
            return base
        token = self._peek()
        if not (token.isdigit() and 1 <= int(token) <= MAX_EXPONENT):
            raise self._no(f"a power must be a whole number from 1 to {MAX_EXPONENT}")
        self.at += 1
        self._refuse_itself(base, base)
        terms = dict(base)
        for _ in range(int(token) - 1):
            both = self._cross(terms, base)
            terms |= {k: v for k, v in both.items() if k not in terms}
        return terms

    def _refuse_itself(self, left: _Terms, right: _Terms) -> None:
        """Refuse ``wealth ** 2``: in this algebra it is ``wealth``, not its square."""
        if len(left) == 1 and left.keys() == right.keys():
            name = _shown(next(iter(left.values())))
            raise self._no(
                f"{name!r} crossed with itself is {name!r} again (a square is square(column))"
            )

    def _cross(self, left: _Terms, right: _Terms) -> _Terms:
        terms: _Terms = {}
        for a in left.values():
            for b in right.values():
                merged = tuple({f.name: f for f in (*a, *b)}.values())
                terms.setdefault(frozenset(f.name for f in merged), merged)
        if len(terms) > MAX_TERMS:
            raise self._no(f"it expands to more than {MAX_TERMS} terms")
        return terms

    def _atom(self) -> _Terms:
        if self._accept("("):
            terms = self._sum()
            if not self._accept(")"):
                raise self._no("a bracket is not closed")
            return terms
        if self.at >= len(self.tokens) or self.tokens[self.at].type != tokenize.NAME:
            raise self._no(f"a column or transform was expected, got {self._peek() or 'the end'!r}")
        start = self.at
        self.at += 1
        if self._peek() == "(":
            self._skip_call()
        factor = self._factor(start)
        return {frozenset({factor.name}): (factor,)}

    def _skip_call(self) -> None:
        depth = 0
        while self.at < len(self.tokens):
            depth += {"(": 1, ")": -1}.get(self.tokens[self.at].string, 0)
            self.at += 1
            if depth == 0:
                return
        raise self._no("a bracket is not closed")

    def _factor(self, start: int) -> Factor:
        source = self.source[self.tokens[start].start[1] : self.tokens[self.at - 1].end[1]]
        tree = _python_tree(source, self.where)
        _vet(tree, frozenset(TRANSFORMS), source, self.where)
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
        for call in calls:
            self._vet_call(call, outermost=call is tree)
        learnt = [ast.unparse(c) for c in calls if _call_name(c) in _LEARNT]
        if len(set(learnt)) < len(learnt):
            # formulaic would learn the second one anew on every table.
            raise self._no(f"{learnt[0]} stands twice in one factor")
        return Factor(ast.unparse(tree), tree, columns_of(tree))

    def _vet_call(self, call: ast.Call, *, outermost: bool) -> None:
        name = _call_name(call)
        self._vet_keywords(name, call.keywords)
        if len(call.args) != 1:
            hint = ", for instance poly(age, degree=2)" if name == "poly" else ""
            raise self._no(f"{name}() takes one column{hint}")
        inside = list(ast.walk(call.args[0]))
        if any(isinstance(n, ast.Constant) and isinstance(n.value, str) for n in inside):
            raise self._no(f"{name}() takes a column, not text")
        if not columns_of(call.args[0]):
            raise self._no(f"{name}() names no column")
        if name == "C" and not (isinstance(call.args[0], ast.Name) and call.keywords):
            raise self._no("write C(column, reference=...) and name the reference level")
        if name in {"C", "poly", "bs"} and not outermost:
            raise self._no(f"{name}() may not stand inside another transform")

    def _vet_keywords(self, name: str, keywords: list[ast.keyword]) -> None:
        allowed = TRANSFORMS[name]
        for key in keywords:
            if key.arg not in allowed:
                near = nearest(str(key.arg), sorted(allowed))
                raise self._no(f"{name}() has no argument {key.arg!r}; {near}")
            if not _is_literal(key.value):
                raise self._no(f"arguments of {name}() by name must be plain numbers or text")
            value = _literal(key.value)
            if name != "C" and isinstance(value, str):
                raise self._no(f"{key.arg} of {name}() must be a number")
            whole = isinstance(value, int) and 1 <= value <= MAX_DEGREE
            if key.arg in {"df", "degree"} and not whole:
                raise self._no(f"{key.arg} must be a whole number from 1 to {MAX_DEGREE}")
