"""A program that asks the host by MCP, with the SDK for Python by the protocol's authors: it looks, creates a container, and is
asked before it deletes it.

program.py URL TOKEN: ends with status 1 where something is not as it should be.
"""

import asyncio
import json
import sys

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

URL, TOKEN = sys.argv[1:]


def check(what, holds, shown=""):
    if not holds:
        raise SystemExit(f"not seen: {what}: {shown}")
    print(f"seen: {what};")


async def main():
    answers, asked = [ElicitResult(action="decline"), ElicitResult(action="accept", content={"confirm": True})], []

    async def ask(_context, params):
        asked.append(params.message)
        return answers.pop(0)

    web = httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    async with Client(streamable_http_client(URL, http_client=web), mode="auto", elicitation_callback=ask) as host:

        async def names():
            read = await host.read_resource("opdbus://containers")
            return {container["name"] for container in json.loads(read.contents[0].text)}

        tools = {tool.name for tool in (await host.list_tools()).tools}
        check("tools", {"container_create", "container_delete"} <= tools, tools)
        check("a resource", "web-01" in await names())
        made = await host.call_tool("container_create", {"name": "db-03", "template": "debian-base", "network": "socket"})
        check("a container that was created", not made.is_error and made.structured_content["state"] == "running", made)
        for times, there in [(1, True), (2, False)]:
            done = await host.call_tool("container_delete", {"name": "db-03", "force": True})
            check(f"a question, {times}", len(asked) == times and "op-dbus container delete db-03" in asked[-1], asked)
            check("kept" if there else "deleted", ("db-03" in await names()) == there and not done.is_error, done)


asyncio.run(main())
