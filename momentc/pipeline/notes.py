"""What the user should know of the columns."""

from momentc.moments.frame import Frame

__all__ = ["notes_on_columns"]


def notes_on_columns(frame: Frame) -> tuple[str, ...]:
    """Say which columns have no moments of their own."""
    notes = []
    if frame.constant:
        listed = ", ".join(map(str, frame.constant))
        notes.append(f"constant columns drop out of the moments: {listed}")
    if frame.dependent:
        listed = ", ".join(str(each.column) for each in frame.dependent)
        notes.append(
            f"columns that are affine combinations of others drop out of the moments: {listed} "
            f"(largest residual {frame.residual:.1e} in the frame); the errors are bounds that "
            "hold for them too"
        )
    return tuple(notes)
