"""Groups of options that several commands take, each as one parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

# Types of group parameters that commands import for type checkers only, so that help is fast.
_DEFERRED = {"ReadOptions": Any}


@dataclass(frozen=True)
class OptionGroup:
    """Options that a command lists one by one and receives as one object.

    Attributes:
        parameter: Name of the parameter of the command that receives the object.
        options: Annotation and default value of each option, by name.
        build: Makes the object from the values of the options.
    """

    parameter: str
    options: Mapping[str, tuple[Any, Any]]
    build: Callable[..., Any]

    def without(self, name: str) -> OptionGroup:
        """Return the group without one of its options, which keeps the default of `build`."""
        rest = {key: value for key, value in self.options.items() if key != name}
        return OptionGroup(self.parameter, rest, self.build)

    def parameters(self) -> list[Parameter]:
        """Return the parameters that typer turns into options."""
        return [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for name, (hint, default) in self.options.items()
        ]


def with_groups(*groups: OptionGroup) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that replaces parameters of a command by the options of groups.

    Args:
        groups: Each takes the place of the parameter that is named after it.
    """
    named = {group.parameter: group for group in groups}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapper(**given: Any) -> None:
            for group in groups:
                values = {name: given.pop(name) for name in group.options}
                given[group.parameter] = group.build(**values)
            command(**given)

        parameters: list[Parameter] = []
        for own in signature(command, eval_str=True, locals=_DEFERRED).parameters.values():
            group = named.get(own.name)
            parameters += group.parameters() if group else [own]
        keywords = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
        wrapper.__signature__ = Signature(keywords)  # type: ignore[attr-defined] # typer reads it
        wrapper.__annotations__ = {each.name: each.annotation for each in keywords}
        return wrapper

    return decorate
