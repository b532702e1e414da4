"""Filters of ``nd2.index``: Python expressions over the columns, without calls to code.

Names of columns, literals, comparisons, arithmetic, `and`/`or`/`not`, indices, ``len``
and a few methods of texts; anything else is refused rather than run.
"""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["compile_filter"]

_OPERATORS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
}
_METHODS: Final = frozenset(
    {"startswith", "endswith", "lower", "upper", "count", "find"}
)
_LONGEST: Final = 1000


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

    Raises
    ------
    ValueError
        If it is no expression, or does more than compare columns.

    Examples
    --------
    >>> keep = compile_filter(
    ...     "axes.startswith('T') and shape[0] > 2", ["axes", "shape"]
    ... )
    >>> keep({"axes": "TYX", "shape": [3, 8, 8]})
    True
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a filter of more than {_LONGEST} characters")
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(str(error)) from None
    _check(tree, names)
    return lambda row: bool(_value(tree, row))


def _check(node: ast.AST, names: Collection[str]) -> None:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            allowed = part.id in names or part.id == "len"
        elif isinstance(part, ast.Attribute):
            allowed = part.attr in _METHODS
        elif isinstance(part, ast.Call):
            is_len = isinstance(part.func, ast.Name) and part.func.id == "len"
            allowed = not part.keywords and (
                is_len or isinstance(part.func, ast.Attribute)
            )
        else:
            known = (
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
            allowed = isinstance(part, known) or type(part) in _OPERATORS
        if not allowed:
            shown = ast.unparse(part) if isinstance(part, ast.expr) else "that"
            raise ValueError(f"a filter cannot use {shown}")


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
            return _OPERATORS[type(node.op)](_value(node.operand, row))
        case ast.BinOp():
            sides = _value(node.left, row), _value(node.right, row)
            if isinstance(node.op, ast.Mult) and not all(
                isinstance(side, int | float) for side in sides
            ):
                raise ValueError("a filter multiplies numbers only")
            return _OPERATORS[type(node.op)](*sides)
        case ast.Compare():
            left = _value(node.left, row)
            for op, right in zip(node.ops, node.comparators, strict=True):
                value = _value(right, row)
                if not _OPERATORS[type(op)](left, value):
                    return False
                left = value
            return True
        case ast.Subscript():
            return _value(node.value, row)[_value(node.slice, row)]
        case ast.Call(func=ast.Attribute(value=owner, attr=name)):
            method = getattr(str(_value(owner, row)), name)
            return method(*(_value(item, row) for item in node.args))
        case ast.Call():
            return len(_value(node.args[0], row))
    raise ValueError(f"a filter cannot use {type(node).__name__}")
