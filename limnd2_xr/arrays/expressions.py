"""Filters over rows of a table: Python expressions that are read, never run.

Names of columns, literals, comparisons, arithmetic, `and`/`or`/`not`, indices, ``len``
and a few methods of texts; anything else is refused. What is not known is None: it is
less or greater than nothing, contains nothing, and what is computed from it is None.
"""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["compile_filter"]

_COMPARISONS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ARITHMETIC: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_NUMBERS_ONLY: Final = (ast.Mult, ast.Mod)
"""Of texts these would be as long as a number says."""
_UNARY: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
}
_METHODS: Final = frozenset(
    {"startswith", "endswith", "lower", "upper", "count", "find"}
)
_STRUCTURE: Final = (
    ast.Constant,
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.Subscript,
    ast.List,
    ast.Tuple,
    ast.Load,
    ast.And,
    ast.Or,
)
_LONGEST: Final = 1000
_DEEPEST: Final = 50


def compile_filter(
    text: str, names: Collection[str]
) -> Callable[[Mapping[str, Any]], bool]:
    """Return a function that says whether a row passes a filter.

    Parameters
    ----------
    text
        The expression.
    names
        Columns that it may use.

    Returns
    -------
    callable
        Raises TypeError or ValueError, IndexError or ZeroDivisionError, if the values of
        a row do not fit the expression.

    Raises
    ------
    ValueError
        If it is no expression, or does more than compare columns.

    Examples
    --------
    >>> keep = compile_filter(
    ...     "axes.startswith('T') and shape[0] > 2", ["axes", "shape"]
    ... )
    >>> keep({"axes": "TYX", "shape": [3, 8, 8]}), keep({"axes": None, "shape": None})
    (True, False)
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a filter of more than {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(str(error)) from None
    except (RecursionError, MemoryError):
        raise ValueError("a filter of too many levels") from None
    _check(tree, names, 0)
    return lambda row: bool(_value(tree, row))


def _check(node: ast.AST, names: Collection[str], depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"a filter of more than {_DEEPEST} levels")
    if not _is_allowed(node, names):
        shown = ast.unparse(node) if isinstance(node, ast.expr) else "that"
        known = (
            f"; columns are {', '.join(names)}" if isinstance(node, ast.Name) else ""
        )
        raise ValueError(f"a filter cannot use {shown}{known}")
    for part in ast.iter_child_nodes(node):
        _check(part, names, depth + 1)


def _is_allowed(node: ast.AST, names: Collection[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names or node.id == "len"
    if isinstance(node, ast.Attribute):
        return node.attr in _METHODS
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return node.func.id == "len" and len(node.args) == 1 and not node.keywords
        return isinstance(node.func, ast.Attribute) and not node.keywords
    known = type(node) in {*_COMPARISONS, *_ARITHMETIC, *_UNARY}
    return known or isinstance(node, _STRUCTURE)


def _value(node: ast.AST, row: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return row[node.id]
        case ast.List() | ast.Tuple():
            return [_value(item, row) for item in node.elts]
        case ast.BoolOp(op=ast.And()):
            return all(_value(part, row) for part in node.values)
        case ast.BoolOp():
            return any(_value(part, row) for part in node.values)
        case ast.UnaryOp():
            value = _value(node.operand, row)
            is_unknown = value is None and isinstance(node.op, ast.USub)
            return None if is_unknown else _UNARY[type(node.op)](value)
        case ast.BinOp():
            return _computed(node.op, _value(node.left, row), _value(node.right, row))
        case ast.Compare():
            return _compared(node, row)
        case ast.Subscript():
            owner = _value(node.value, row)
            return None if owner is None else owner[_value(node.slice, row)]
        case ast.Call(func=ast.Attribute(value=owner, attr=name)):
            text = _value(owner, row)
            method = getattr("" if text is None else str(text), name)
            return method(*(_value(item, row) for item in node.args))
        case ast.Call():
            value = _value(node.args[0], row)
            return None if value is None else len(value)
    raise ValueError(f"a filter cannot use {type(node).__name__}")


def _computed(op: ast.operator, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if isinstance(op, _NUMBERS_ONLY) and not numbers:
        raise ValueError("a filter multiplies and divides numbers only")
    return _ARITHMETIC[type(op)](left, right)


def _compared(node: ast.Compare, row: Mapping[str, Any]) -> bool:
    left = _value(node.left, row)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, row)
        if not _holds(op, left, right):
            return False
        left = right
    return True


def _holds(op: ast.cmpop, left: Any, right: Any) -> bool:
    if isinstance(op, ast.In | ast.NotIn):
        if right is None:
            return isinstance(op, ast.NotIn)
    elif not isinstance(op, ast.Eq | ast.NotEq) and (left is None or right is None):
        return False
    return bool(_COMPARISONS[type(op)](left, right))
