"""A forecast as tables for a terminal."""

import math
from collections.abc import Callable

from sllm_data.reporting.forecast import Estimate, Forecast, PassForecast, Speed
from sllm_data.reporting.text import markdown_table

_REQUESTS = ("pass", "task", "answered before", "left", "prompt tokens", "response tokens")
_PASSES = ("pass", "left", "engine time", "95 %", "probed", "s", "requests/s", "tokens/s")


def forecast_as_text(found: Forecast) -> str:
    """Returns what is left by pass and task, the engine's hours, and the sums."""
    seen = f"{found.sampled:,} of {found.utterances:,} utterances looked at"
    blocks = [f"what is left of {found.dataset} ({seen})"]
    if found.requests:
        blocks.append(markdown_table(_REQUESTS, _requests(found)))
        blocks.append(markdown_table(_PASSES, [_pass(each) for each in found.passes]))
    blocks.append(markdown_table(("", "forecast", "95 %"), _sums(found)))
    if found.notes:
        blocks.append("\n".join(f"note: {note}" for note in found.notes))
    return "\n\n".join(blocks)


def _requests(found: Forecast) -> list[tuple[str, ...]]:
    return [
        (
            each.turn,
            each.task,
            *(
                _count(of.value)
                for of in (each.known, each.left, each.prompt_tokens, each.response_tokens)
            ),
        )
        for each in found.requests
    ]


def _pass(each: PassForecast) -> tuple[str, ...]:
    hours = _time(each.hours.value), _between(each.hours, _time)
    return (each.turn, _count(each.left.value), *hours, *_speed(each.speed))


def _speed(speed: Speed | None) -> tuple[str, ...]:
    if speed is None:
        return ("", "", "", "")
    return (
        _count(speed.answers),
        f"{speed.seconds:,.1f}",
        f"{speed.requests_per_second:,.1f}",
        _count(speed.response_tokens_per_second),
    )


def _sums(found: Forecast) -> list[tuple[str, ...]]:
    lines = [
        *(_line(f"training rows, {task}", of, _count) for task, of in found.samples.items()),
        _line("training rows, all", found.all_samples, _count),
        _line("engine time, answering", found.answer_hours, _time),
        _line("engine time, with starts", found.engine_hours, _time),
        ("engine starts", f"{found.starts} of {found.start_seconds:,.0f} s", ""),
        ("engines side by side", f"{found.engines:,}", ""),
        *(_line(f"GB of {table}/", size, _amount) for table, size in found.gigabytes.items()),
        ("GB that are there", _amount(found.gigabytes_there), ""),
        _line("GB that are left", found.gigabytes_left, _amount),
    ]
    if found.money is not None:
        price = f"money, at {found.price_per_gpu_hour:g} a GPU hour"
        lines.append(_line(price, found.money, _amount))
    return lines


def _line(name: str, of: Estimate, shown: Callable[[float], str]) -> tuple[str, ...]:
    return (name, shown(of.value), _between(of, shown))


def _between(of: Estimate, shown: Callable[[float], str]) -> str:
    return f"{shown(of.low)} to {shown(of.high)}"


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _amount(number: float) -> str:
    """Three digits, whatever the size; never a power of ten.

    >>> _amount(0.000123456), _amount(12.3456), _amount(4321.0)
    ('0.000123', '12.3', '4,321')
    """
    digits = 2 if number <= 0 else max(0, 2 - math.floor(math.log10(number)))
    return f"{number:,.{digits}f}"


def _time(hours: float) -> str:
    """Hours, minutes or seconds.

    >>> _time(2.5), _time(0.5), _time(0.001)
    ('2.50 h', '30.0 min', '3.60 s')
    """
    for unit, size in (("h", 1.0), ("min", 1 / 60)):
        if hours >= size:
            return f"{_amount(hours / size)} {unit}"
    return f"{_amount(hours * 3600)} s"
