# Python's websockets against the lab server: joins a room, and gets echoes of messages of several sizes.
import asyncio
import json
import sys

import websockets


async def main(url):
    async with websockets.connect(url, max_size=None) as ws:
        names = [e.name for e in ws.extensions]
        assert names == ["permessage-deflate"], names
        await ws.send('["1","1","room:python","phx_join",{}]')
        assert json.loads(await ws.recv())[4]["status"] == "ok"
        for count in [0, 1, 10, 100, 3000]:
            payload = {"items": [{"id": i, "name": f"user {i % 7}"} for i in range(count)]}
            await ws.send(json.dumps(["1", "2", "room:python", "echo", payload]))
            assert json.loads(await ws.recv())[4]["response"] == payload
            # One message in fragments
            await ws.send(['["1","3","room:python",', f'"echo",{json.dumps(payload)}]'])
            assert json.loads(await ws.recv())[4]["response"] == payload
    print("ok")


asyncio.run(asyncio.wait_for(main(sys.argv[1]), 50))
