"""Names of shared accounts and of the workflows that keep them."""

from __future__ import annotations

PREFIX = "interlock-ledger-"


def ledger_id(account: str) -> str:
    """The id of the ``BudgetLedger`` that keeps ``account``."""
    return f"{PREFIX}{account}"


def account_of(workflow_id: str) -> str:
    """The account that a ``BudgetLedger`` keeps."""
    return workflow_id.removeprefix(PREFIX)


def agent_account(agent: str) -> str:
    """The account where an agent's runs tell what they cost."""
    return f"agent:{agent}"
