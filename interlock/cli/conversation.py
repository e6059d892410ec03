"""A transcript as people read it: every word, in order, with who said it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from interlock.contracts import AssistantMessage, ToolMessage, Transcript, UserMessage
from interlock.present import one_line, printable


def show(to: Console, told: Transcript) -> None:
    """The whole conversation. Nothing is cut or wrapped; what a terminal would obey is left out."""
    _said(to, Text("instructions", "dim"), told.spec.instructions)
    for message in told.messages:
        match message:
            case UserMessage(text=text):
                _said(to, Text("user", "bold cyan"), text)
            case AssistantMessage(provider=provider, text=text, calls=calls):
                asked = "\n".join(f"→ {call.tool} {call.arguments}  [{call.call_id}]" for call in calls)
                _said(to, Text.assemble(("model", "bold green"), (f" · {one_line(provider)}", "dim")), text, asked)
            case ToolMessage(tool=tool, call_id=call_id, content=content, is_error=is_error):
                failed = (" · failed", "red") if is_error else ""
                _said(to, Text.assemble(("tool", "bold magenta"), (f" · {tool} [{call_id}]", "dim"), failed), content)


def _said(to: Console, who: Text, *texts: str) -> None:
    to.print(who, soft_wrap=True)
    for text in filter(None, texts):
        to.print(Text(printable(text)), soft_wrap=True)
    to.print()
