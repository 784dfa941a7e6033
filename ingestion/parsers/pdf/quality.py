"""Decides whether a page's characters are usable text, or the page needs OCR (pure)."""

from dataclasses import dataclass

_MAX_UNREADABLE = 0.15
"""Share of a page's characters of which its fonts do not say what they are; with more of them it is not readable."""
_FEW = 40
"""Characters. Fewer on a page that is mostly a picture are a stamp or a page number on a scan."""
_PICTURE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class PageQuality:
    characters: int
    """Number of characters without white space."""
    unreadable: int
    picture_share: float
    """Share of the page's area that pictures cover."""
    empty: bool
    """Whether nothing is drawn on the page."""

    @property
    def garbled(self) -> bool:
        return self.unreadable > _MAX_UNREADABLE * self.characters

    @property
    def usable(self) -> bool:
        """Whether the text of the page is what a reader sees on it."""
        scanned = self.characters < _FEW and self.picture_share >= _PICTURE_SHARE
        return self.characters > 0 and not self.garbled and not scanned
