"""What a tool of an MCP server returned, as the model is shown it: text and JSON; of anything else, what it is."""

from __future__ import annotations

import json
from typing import Any

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)


def text_of(result: CallToolResult) -> str:
    """The parts, one after another; the structured content after them, where they do not say the same."""
    parts = [_part(part) for part in result.content]
    structured = result.structured_content
    if structured is not None and not any(_says(part, structured) for part in parts):
        text = json.dumps(structured, ensure_ascii=False)
        if not any(data and data in text for data in map(_data, result.content)):
            parts.append(text)
    return "\n".join(parts)


def _data(part: ContentBlock) -> str:
    """What is not shown of a part: structured content that repeats it is not shown either."""
    match part:
        case ImageContent() | AudioContent():
            return part.data
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            return resource.blob
        case _:
            return ""


def _part(part: ContentBlock) -> str:
    match part:
        case TextContent():
            return part.text
        case ImageContent() | AudioContent():
            return f"[{part.type}, not shown: {_kind(part.mime_type)}, {_size(part.data)} bytes]"
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return f"[resource {resource.uri[:500]}]\n{resource.text}"
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            what = f"{_kind(resource.mime_type)}, {_size(resource.blob)} bytes"
            return f"[resource {resource.uri[:500]}, not shown: {what}]"
        case ResourceLink():
            size = "size unknown" if part.size is None else f"{part.size} bytes"
            return f"[link to resource {part.uri[:500]}, not fetched: {_kind(part.mime_type)}, {size}]"
        case _:
            raise ValueError(f"a part of type {part.type} cannot be shown")


def _kind(mime_type: str | None) -> str:
    return (mime_type or "type unknown")[:100]


def _size(base64: str) -> int:
    return len(base64.rstrip("=")) * 3 // 4


def _says(text: str, structured: Any) -> bool:
    """Servers repeat structured content as text; a bare value as ``result`` of an object."""
    try:
        said = json.loads(text) if len(text) <= 1_000_000 else text
    except (ValueError, RecursionError):
        said = text
    bare = structured.get("result") if isinstance(structured, dict) and len(structured) == 1 else structured
    return bool(said in (structured, bare) or text == bare)
