"""The person's web browser."""

from __future__ import annotations


def show_in_browser(address: str, *, wanted: bool = True) -> bool:
    """Opens an address in the person's browser; whether there is one."""
    if not wanted:
        return False
    import webbrowser  # only where a page is shown

    try:
        return webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return False
