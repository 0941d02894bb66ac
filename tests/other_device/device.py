"""A device that computes on the CPU and has a GPU's rules: tensors of both do not mix.

Its tensors wrap tensors of the CPU. Whatever is called with them is called with what they wrap,
and refused where CUDA would refuse it: tensors of both devices in one operation, and numpy's view
of them. Results are the CPU's, so they can be compared with those of the same code on the CPU.

It is registered with torch for the whole process, and torch then takes it for an accelerator: use
it in a process of its own (checks.py).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

aten = torch.ops.aten
_PACKING = {
    aten._pack_padded_sequence.default,
    aten._pack_padded_sequence_backward.default,
    aten._pad_packed_sequence.default,
}
"""Lengths are on the CPU, in CUDA too, and stay there."""
_COPYING = {aten.copy_.default, aten._to_copy.default}
_INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
"""CUDA fetches indices from the CPU."""


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float32]


_setup_privateuseone_for_python_backend("other", _Backend())
OTHER = torch.device("other:0")


class OtherTensor(Tensor):
    """A tensor of the device, around one of the CPU."""

    wrapped: Tensor

    @staticmethod
    def __new__(cls, wrapped: Tensor) -> "OtherTensor":
        """Around this one."""
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            wrapped.shape,
            strides=wrapped.stride(),
            storage_offset=wrapped.storage_offset(),
            dtype=wrapped.dtype,
            device=OTHER,
        )
        made.wrapped = wrapped
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Call an operation with what is wrapped."""
        return _call(func, args, kwargs or {})

    def tolist(self) -> Any:
        """As a GPU's tensor does."""
        return self.cpu().tolist()


class _Dispatch(TorchDispatchMode):
    """Makes tensors of the device where it is asked for by name."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        if func._can_decompose():
            with self:
                return func.decompose(*args, **(kwargs or {}))
        return _call(func, args, kwargs or {})


@contextmanager
def present() -> Iterator[None]:
    """There is such a device within the block."""
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with _Dispatch():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(False)


def _call(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    others = [tensor for tensor in tensors if isinstance(tensor, OtherTensor)]
    if others:
        _refuse_mixture(func, args, tensors)
    asked = kwargs.get("device")
    cpu_args, cpu_kwargs = tree_map_only(OtherTensor, lambda x: x.wrapped, (args, kwargs))
    cpu_kwargs.pop("pin_memory", None)
    if asked is not None:
        cpu_kwargs["device"] = torch.device("cpu")
    result = _INSTEAD.get(func, func)(*cpu_args, **cpu_kwargs)
    if func is aten.copy_.default:
        return args[0]
    is_other = bool(others) if asked is None else torch.device(asked).type == OTHER.type
    if not is_other:
        return result
    if func in _PACKING and isinstance(result, tuple):
        return OtherTensor(result[0]), result[1]
    known = {id(other.wrapped): other for other in others}  # what is changed in place stays itself

    def as_other(x: Tensor) -> OtherTensor:
        return known[id(x)] if id(x) in known else OtherTensor(x)

    return tree_map_only(Tensor, as_other, result)


def _refuse_mixture(func: Any, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    """Raise RuntimeError where tensors of the CPU, but for single numbers, go with others."""
    if func in _COPYING | _PACKING:
        return
    if func in _INDEXING and isinstance(args[0], OtherTensor):
        tensors = [args[0], *args[2:3]]
    if any(tensor.dim() and not isinstance(tensor, OtherTensor) for tensor in tensors):
        found = ", ".join(f"{tensor.device} {tuple(tensor.shape)}" for tensor in tensors)
        raise RuntimeError(f"{func}: expected all tensors on one device, found {found}")


# Torch takes a fused cell for every device but the CPU, which has none.


def _gru_cell(
    of_input: Tensor, of_state: Tensor, state: Tensor, input_bias: Tensor, state_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """The next state, and what its gradient is made of, as torch.nn.GRU documents it."""
    reset_i, update_i, new_i = (of_input + input_bias).chunk(3, -1)
    reset_s, update_s, new_s = (of_state + state_bias).chunk(3, -1)
    reset, update = (reset_i + reset_s).sigmoid(), (update_i + update_s).sigmoid()
    new = (new_i + reset * new_s).tanh()
    return new + update * (state - new), torch.cat([reset, update, new, state, new_s], dim=-1)


def _gru_cell_backward(grad: Tensor, kept: Tensor, has_bias: bool) -> tuple[Tensor, ...]:
    """Gradients of the five arguments of the cell."""
    assert has_bias
    reset, update, new, state, new_s = kept.chunk(5, -1)
    of_update = grad * (state - new) * update * (1 - update)
    of_new = grad * (1 - update) * (1 - new.square())
    of_reset = of_new * new_s * reset * (1 - reset)
    of_input = torch.cat([of_reset, of_update, of_new], dim=-1)
    of_state = torch.cat([of_reset, of_update, of_new * reset], dim=-1)
    return of_input, of_state, grad * update, of_input.sum(0), of_state.sum(0)


_INSTEAD: dict[Any, Callable[..., object]] = {
    aten._thnn_fused_gru_cell.default: _gru_cell,
    aten._thnn_fused_gru_cell_backward.default: _gru_cell_backward,
}
