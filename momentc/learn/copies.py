"""Copies of models: what is given is never changed."""

import copy
from typing import TypeVar

from torch import nn

from momentc.errors import UsageError

__all__ = ["copy_of"]

Model = TypeVar("Model", bound=nn.Module)


def copy_of(model: Model) -> Model:
    """Return a copy that shares nothing with a model.

    Raises
    ------
    UsageError
        What the model holds cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # what the user's attributes have against it
        raise UsageError(f"the model cannot be copied: {error}") from error
