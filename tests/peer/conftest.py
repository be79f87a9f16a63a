"""Marks the comparisons with the official code, and silences what that code does in old ways."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.peer)
            # torch.cuda.amp.autocast(...) in the official assigner
            item.add_marker(pytest.mark.filterwarnings("ignore::FutureWarning:yolox"))
