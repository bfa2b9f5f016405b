"""The Lua scripts, each put together from its shebang, the shared part, and its own body."""

import hashlib
from importlib import resources

_LUA = resources.files("taskqueue") / "lua"


class Script:
    """The source of one script, and the hash that Redis knows it by."""

    def __init__(self, name: str) -> None:
        shebang, _, body = (_LUA / f"{name}.lua").read_text().partition("\n")
        self.name = name
        self.source = "\n".join((shebang, (_LUA / "common.lua").read_text(), body)).encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


ENQUEUE = Script("enqueue")
SETTLE_AND_CLAIM = Script("settle_and_claim")
RENEW = Script("renew")
RELEASE = Script("release")
REAP = Script("reap")
CANCEL = Script("cancel")
PURGE = Script("purge")
REDRIVE = Script("redrive")
PAUSE = Script("pause")
