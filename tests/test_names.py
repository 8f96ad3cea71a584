import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from mcphub.core.ids import is_slug
from mcphub.core.names import RESERVED
from mcphub.health import PATHS


def first_segments(patterns: list[URLPattern | URLResolver]) -> set[str]:
    """What the paths of these patterns begin with, where it is a fixed word."""
    found: set[str] = set()
    for pattern in patterns:
        text = str(pattern.pattern)
        if not text and isinstance(pattern, URLResolver):
            found |= first_segments(pattern.url_patterns)
        else:
            found.add(text.split("/")[0])
    return found


@pytest.mark.requirement("N2")
def test_no_slug_can_stand_in_the_way_of_a_url_of_the_hub() -> None:
    segments = first_segments(get_resolver().url_patterns) | {path.strip("/") for path in PATHS}
    assert {segment for segment in segments if is_slug(segment)} <= RESERVED
