"""Selections of events written as expressions: "b < 5 and n_particles > 200".

The expression is parsed with Python's own grammar and walked node by node; only event columns,
numbers, arithmetic, comparisons, and/or/not and abs() are known. Nothing is ever executed.
"""

import ast
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, Final

import numpy as np

from hitools.core.errors import InputError
from hitools.core.features import EVENT_COLUMNS, EVENT_INDEX, BoolArray, Float32Array

_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {"abs": np.abs}

_LONGEST_SHOWN: Final = 200
"""Characters of an expression in a message."""

_Values = dict[str, np.ndarray]
_Evaluate = Callable[[_Values], Any]


class Selection:
    """A parsed expression over the event columns.

    Attributes:
        expression: as it was given.
        names: event columns in it.
    """

    def __init__(self, expression: str) -> None:
        """Parse; raises InputError that shows the part that is not understood."""
        self.expression = expression
        self._shown = _shortened(repr(expression))
        try:
            tree = ast.parse(expression.strip(), mode="eval")
            self.names = _names(tree) & set(EVENT_INDEX)
            self._evaluate, kind = self._compile(tree.body)
        except (SyntaxError, ValueError) as error:
            raise InputError(f"--select {self._shown}: {error.args[0]}") from None
        except (RecursionError, MemoryError):  # the latter is what Python's own parser says
            raise InputError(f"--select {self._shown}: too many terms in one another") from None
        if kind != "truth":
            raise InputError(f"--select {self._shown}: expected a condition, like 'b < 5'")

    def __call__(self, events: Float32Array) -> BoolArray:
        """Which events are selected.

        Args:
            events: (n_events, 11).

        Returns:
            (n_events,) bool.
        """
        columns = {name: events[:, i].astype(np.float64) for name, i in EVENT_INDEX.items()}
        with np.errstate(all="ignore"):
            chosen = self._evaluate(columns)
        return np.broadcast_to(np.asarray(chosen, dtype=np.bool_), len(events)).copy()

    def _compile(self, node: ast.expr) -> tuple[_Evaluate, str]:
        """A function of the columns, and whether it gives a "number" or a "truth"."""
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                value = self._finite(node, number)
                return lambda _: value, "number"
            case ast.Name(id=name) if name in EVENT_INDEX:
                return lambda values: values[name], "number"
            case ast.Name(id=name):
                raise self._error(node, f"no event column; there are {', '.join(EVENT_COLUMNS)}")
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                unsigned = self._expect(operand, "number")
                if isinstance(sign, ast.UAdd):
                    return unsigned, "number"
                return lambda values: -unsigned(values), "number"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                truth = self._expect(operand, "truth")
                return lambda values: np.logical_not(truth(values)), "truth"
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                apply = _BINARY[type(op)]
                a, b = self._expect(left, "number"), self._expect(right, "number")
                if not _names(node):
                    # The same for all events: 1/0 or the root of -1 is a slip, not a selection.
                    with np.errstate(all="ignore"):
                        constant = self._finite(node, apply(a({}), b({})))
                    return lambda _: constant, "number"
                return lambda values: apply(a(values), b(values)), "number"
            case ast.BoolOp(op=op, values=operands):
                truths = [self._expect(operand, "truth") for operand in operands]
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return lambda values: reduce(join, (truth(values) for truth in truths)), "truth"
            case ast.Compare(left=left, ops=ops, comparators=comparators) if all(
                type(op) in _COMPARE for op in ops
            ):
                terms = [self._expect(term, "number") for term in (left, *comparators)]
                tests = [_COMPARE[type(op)] for op in ops]

                def chain(values: _Values) -> Any:
                    numbers = [term(values) for term in terms]
                    pairs = zip(tests, numbers, numbers[1:], strict=False)
                    truths = [test(low, high) for test, low, high in pairs]
                    return reduce(np.logical_and, truths)

                return chain, "truth"
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if (
                name in _FUNCTIONS
            ):
                function, inner = _FUNCTIONS[name], self._expect(argument, "number")
                return lambda values: function(inner(values)), "number"
        raise self._error(
            node, "not understood: columns, numbers, + - * / % **, comparisons, and or not, abs()"
        )

    def _expect(self, node: ast.expr, kind: str) -> _Evaluate:
        evaluate, found = self._compile(node)
        if found != kind:
            raise self._error(node, f"a {kind} is expected here")
        return evaluate

    def _finite(self, node: ast.expr, number: float) -> np.float64:
        """Of numpy's kind, so that arithmetic follows the same rules as that of columns."""
        try:
            value = np.float64(number)
        except OverflowError:
            value = np.float64(np.inf)
        if not np.isfinite(value):
            raise self._error(node, "no finite number")
        return value

    def _error(self, node: ast.expr, why: str) -> InputError:
        part = ast.get_source_segment(self.expression.strip(), node)
        return InputError(f"--select {self._shown}: {_shortened(repr(part))}: {why}")


def _names(tree: ast.AST) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
