"""What a client of MCP that is not ours sees of us: the SDK for Python, by the protocol's authors.

client.py BASE MODE stdio OP-DBUS
client.py BASE MODE http URL TOKEN READ-TOKEN TOKEN-OF-ANOTHER

MODE is "legacy" (a handshake first) or "auto" (what both know that is newest). BASE is the host's base path, below which
there are templates that can be removed.
"""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import httpx2
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult

BASE, MODE, DOOR, *REST = sys.argv[1:]
TEMPLATES = Path(BASE, "@templates")


def check(what, holds, shown=""):
    if not holds:
        raise SystemExit(f"FAILED {MODE} {DOOR}: {what}: {shown}")
    print(f"ok {MODE} {DOOR}: {what}")


def server(token=None):
    if DOOR == "stdio":
        return StdioServerParameters(command=REST[0], args=["mcp"], env=dict(os.environ))
    headers = {"Authorization": f"Bearer {token or REST[1]}"}
    return streamable_http_client(REST[0], http_client=httpx2.AsyncClient(headers=headers, timeout=30))


def client(answer=None, token=None):
    """A client whose user, where it can ask one, answers the question by `answer`."""
    asked = []

    async def ask(_context, params):
        asked.append(params)
        return answer

    made = Client(server(token), mode=MODE, elicitation_callback=ask if answer else None)
    return made, asked


def text(result):
    return result.content[0].text


async def looks():
    made, _ = client()
    async with made as host:
        version = "2025-11-25" if MODE == "legacy" else "2026-07-28"
        check("the version is the newest of its kind", host.protocol_version == version, host.protocol_version)
        tools = {tool.name: tool for tool in (await host.list_tools()).tools}
        check("so many tools", len(tools) > 40, len(tools))
        check("their names are taken by all", all(re.fullmatch(r"[a-zA-Z0-9_]{1,64}", name) for name in tools))
        check("what needs streams is none", not {"container_exec", "ledger_export", "plugin_send"} & set(tools))
        remove, show = tools["template_remove"], tools["ledger_show"]
        check("what destroys is said to", remove.annotations.destructive_hint and not remove.annotations.read_only_hint)
        check("what looks is said to", show.annotations.read_only_hint and not show.annotations.destructive_hint)
        check("a confirmation is an argument", "confirmation" in remove.input_schema["properties"])

        # The SDK holds each answer against the schema that the tool has.
        result = await host.call_tool("ledger_verify", {})
        check("an answer is structured", result.structured_content["whole"] is True, result)
        check("and a text", "entries" in text(result), text(result))
        result = await host.call_tool("template_list", {})
        names = [one["name"] for one in result.structured_content["answer"]]
        check("a list is in an object", {"alpha", "beta", "gamma", "delta"} <= set(names), names)
        result = await host.call_tool("ledger_show", {"limit": 2, "reverse": True})
        check("arguments are the operation's", [one["id"] for one in result.structured_content["answer"]] == [0, 1], result)

        result = await host.call_tool("template_remove", {"name": "none"})
        check("a failure is the tool's, with advice or a reason", result.is_error and "none" in text(result), result)
        result = await host.call_tool("ledger_show", {"colour": "red"})
        check("so are wrong arguments", result.is_error and "colour" in text(result), result)
        try:
            await host.call_tool("template.remove", {"name": "delta"})
            check("a tool that is not there is the protocol's", False)
        except MCPError as error:
            check("a tool that is not there is the protocol's", "no tool" in str(error), error)

        steps = []

        async def step(progress, total, message):
            steps.append((progress, message))

        await host.call_tool("introspect", {"all": True}, progress_callback=step)
        going = all(a[0] < b[0] for a, b in zip(steps, steps[1:]))
        check("progress goes on", steps and going and "looked at" in steps[0][1], steps)

        fixed = {str(one.uri) for one in (await host.list_resources()).resources}
        check("resources", {"opdbus://overview", "opdbus://ledger/latest", "opdbus://containers"} <= fixed, fixed)
        kinds = {one.uri_template for one in (await host.list_resource_templates()).resource_templates}
        check("kinds of resources", "opdbus://ledger/entry/{id}" in kinds and "opdbus://bus/{service}" in kinds, kinds)

        async def read(uri):
            return json.loads((await host.read_resource(uri)).contents[0].text)

        latest = await read("opdbus://ledger/latest")
        check("the ledger is read", latest[0]["id"] > latest[-1]["id"], latest)
        check("an entry is", (await read("opdbus://ledger/entry/1"))["id"] == 1)
        check("who read it is in the ledger", (await read("opdbus://ledger/latest"))[0]["operation"] == "ledger.show")
        check("the containers are", await read("opdbus://containers") == [])
        check("the host is", (await read("opdbus://overview"))["ledger"]["whole"] is True)
        service = await read("opdbus://bus/org.opdbus1")
        check("the bus is", service["services"][0]["name"] == "org.opdbus1", service)
        for uri in ["opdbus://ledger/entry/99999", "opdbus://nothing", "file:///etc/passwd"]:
            try:
                await host.read_resource(uri)
                check(f"{uri} is not there", False)
            except MCPError as error:
                check(f"{uri} is not there", "no such resource" in str(error), error)


async def asks_the_user():
    """The client can ask its user."""
    for answer, what in [
        (ElicitResult(action="decline"), "declined"),
        (ElicitResult(action="cancel"), "cancelled"),
        (ElicitResult(action="accept", content={"confirm": False}), "accepted, and not confirmed"),
    ]:
        made, asked = client(answer)
        async with made as host:
            result = await host.call_tool("template_remove", {"name": "beta"})
        check(f"{what}: the user was asked", len(asked) == 1 and "op-dbus template remove beta" in asked[0].message, asked)
        check(f"{what}: nothing was done", result.structured_content["nothingDone"] is True and not result.is_error, result)
        check(f"{what}: it is there", (TEMPLATES / "beta").exists())
    made, asked = client(ElicitResult(action="accept", content={"confirm": True}))
    async with made as host:
        rehearsed = await host.call_tool("template_remove", {"name": "alpha", "dryRun": True})
        check("a rehearsal asks nothing", not asked and rehearsed.structured_content["changes"][0]["action"] == "remove")
        check("and does nothing", (TEMPLATES / "alpha").exists())
        result = await host.call_tool("template_remove", {"name": "alpha"})
        check("the question says what would be", "- template alpha" in asked[0].message, asked[0].message)
        check("confirmed, it is done", "removed" in text(result) and not result.is_error, result)
        check("it is gone", not (TEMPLATES / "alpha").exists())


async def passes_on_a_word():
    """The client cannot ask its user: two steps."""
    made, _ = client()
    async with made as host:

        async def remove(**arguments):
            return await host.call_tool("template_remove", arguments)

        async def word(**arguments):
            result = await remove(**arguments)
            answer = result.structured_content
            check("a first call does nothing, and is no failure", answer["nothingDone"] and not result.is_error, result)
            check("it says what would be done", answer["command"].startswith("op-dbus template remove "), answer)
            check("and what is to be said", answer["confirmation"] in text(result) and answer["seconds"] == 120, result)
            return answer["confirmation"]

        def refused(what, result):
            check(what, result.is_error and text(result).startswith("Nothing was done"), result)

        given = await word(name="gamma")
        check("it is there", (TEMPLATES / "gamma").exists())
        refused("another's word", await remove(name="gamma", confirmation="0123456789abcdef"))
        refused("what is no word", await remove(name="gamma", confirmation=True))
        refused("a word for other arguments", await remove(name="delta", confirmation=given))
        refused("which is used up", await remove(name="gamma", confirmation=given))
        check("both are there", (TEMPLATES / "gamma").exists() and (TEMPLATES / "delta").exists())
        given = await word(name="gamma")
    made, _ = client()
    async with made as host:
        if DOOR == "stdio":
            # Another process knows nothing of it.
            refused("a word of another process", await remove(name="gamma", confirmation=given))
            given = await word(name="gamma")
        result = await remove(name="gamma", confirmation=given)
        check("with the word, it is done, in whichever session", not result.is_error and "removed" in text(result), result)
        check("it is gone", not (TEMPLATES / "gamma").exists())
        refused("a second time", await remove(name="gamma", confirmation=given))


async def who_asks():
    """Over HTTP: what a token lets its user do, and whose a session is."""
    url, ours, read_only, another = REST
    made, _ = client(token=read_only)
    async with made as host:
        check("who may look looks", not (await host.call_tool("ledger_verify", {})).is_error)
        result = await host.call_tool("template_remove", {"name": "delta"})
        check("and does nothing else", result.is_error and "may not" in text(result) or "not by this token" in text(result), result)
    made, _ = client(token=another)
    async with made as host:
        result = await host.call_tool("ledger_verify", {})
        check("who may nothing on the host may nothing here", result.is_error and "may not" in text(result), result)

    both = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}

    def bearer(token):
        return both | {"Authorization": f"Bearer {token}"}

    async with httpx2.AsyncClient(timeout=10) as http:
        for what, headers in [("no token", both), ("a false token", bearer("opdbus_" + "A" * 43))]:
            check(f"{what} is let in to nothing", (await http.post(url, headers=headers, json=hello)).status_code == 401)
        for name, value in [("Origin", "http://evil.example"), ("Host", "evil.example")]:
            answer = await http.post(url, headers=bearer(ours) | {name: value}, json=hello)
            check(f"a foreign {name} is refused", answer.status_code == 403, answer.status_code)
        large = hello | {"params": hello["params"] | {"x": "y" * (1 << 20)}}
        check("too much is refused", (await http.post(url, headers=bearer(ours), json=large)).status_code == 413)
        check("what is no JSON is refused", (await http.post(url, headers=bearer(ours), content="{")).status_code >= 400)
        started = await http.post(url, headers=bearer(ours), json=hello)
        session = {"Mcp-Session-Id": started.headers["mcp-session-id"]}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        check("a session begins", (await http.post(url, headers=bearer(ours) | session, json=ready)).status_code == 202)
        for token, status in [(another, 404), (ours, 200)]:
            answer = await http.post(url, headers=bearer(token) | session, json=listing)
            check(f"a session is its user's alone: {status}", answer.status_code == status, answer.status_code)
        answer = await http.get(url, headers=bearer(another) | session)
        check("another does not listen in", answer.status_code == 404, answer.status_code)
        await http.delete(url, headers=bearer(another) | session)
        answer = await http.post(url, headers=bearer(ours) | session, json=listing)
        check("nor end it", answer.status_code == 200, answer.status_code)
        await http.delete(url, headers=bearer(ours) | session)
        answer = await http.post(url, headers=bearer(ours) | session, json=listing)
        check("its user does", answer.status_code == 404, answer.status_code)


async def all_of_it():
    await looks()
    await asks_the_user()
    await passes_on_a_word()
    if DOOR == "http":
        await who_asks()


asyncio.run(asyncio.wait_for(all_of_it(), 120))
