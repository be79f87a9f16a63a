"""Blocks as text for a terminal."""

from __future__ import annotations

from reports.blocks import (
    Block,
    Blocks,
    Contents,
    Details,
    Figure,
    Files,
    Gallery,
    Heading,
    Items,
    Prose,
    Table,
    Terms,
    Warn,
    plain,
)
from reports.grid import text_table


def render(blocks: Blocks) -> str:
    """The blocks, an empty line between them."""
    return "\n\n".join(part for block in blocks for part in _block(block))


def _block(block: Block) -> list[str]:
    match block:
        case Heading():
            return [block.text]
        case Contents():
            return []
        case Prose():
            return [plain(block.text)]
        case Warn():
            return [f"warning: {block.text}"]
        case Table():
            mark = block.caption.mark if block.caption else ""
            return [text_table(grid) for _, grid in block.pieces()] + ([mark] if mark else [])
        case Items():
            return ["\n".join(f"  {plain(item)}" for item in block.items)]
        case Terms():
            return ["\n".join(f"  {term}: {text}" for term, text in block.pairs)]
        case Details():
            return [block.summary, *(part for inner in block.blocks for part in _block(inner))]
        case Figure():
            return [f"{block.title}: {block.files[0]}"]
        case Gallery():
            return ["\n".join(f"{figure.title}: {figure.files[0]}" for figure in block.figures)]
        case Files():
            return [f"{block.text} {', '.join(str(path) for _, path in block.files)}"]
