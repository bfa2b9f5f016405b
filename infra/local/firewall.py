"""The cluster's iptables rules: let pods through a closed firewall, and take every rule out again."""

import re
from collections.abc import Iterable

from infra.local.commands import attempt, run
from infra.local.settings import Settings

CHAIN = "TASK-QUEUE"
FAMILIES = ("iptables", "ip6tables")


def allow_rules(settings: Settings) -> str:
    """Input for `iptables-restore --noflush`: pods may talk, whatever the default policies are.

    A machine with Docker or ufw drops what it forwards, also between two pods of one bridge.
    """
    bridge = settings.network.pod_bridge
    return "\n".join(
        (
            "*filter",
            f":{CHAIN} - [0:0]",
            f"-A {CHAIN} -i {bridge} -j ACCEPT",
            f"-A {CHAIN} -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
            f"-A {CHAIN} -o {bridge} -s 127.0.0.0/8 -j ACCEPT",
            f"-I FORWARD -j {CHAIN}",
            f"-I INPUT -i {bridge} -j {CHAIN}",
            "COMMIT",
            "",
        )
    )


def allow(settings: Settings) -> None:
    """Add the rules, once."""
    if f":{CHAIN} " not in _save("iptables"):
        _restore("iptables", allow_rules(settings))


def removal(saved: str, network: str) -> str:
    """Input for `iptables-restore --noflush` that removes the cluster's chains from an `iptables-save`.

    Chains are known by name (ours, kube-proxy's and the kubelet's) or, for the bridge plugin, whose
    chains other networks of the machine share the prefix of, by the network's name in a comment.
    Empty when there is nothing to remove.
    """
    output: list[str] = []
    for table, lines in _tables(saved):
        declared = [line[1:].split()[0] for line in lines if line.startswith(":")]
        rules = [line for line in lines if line.startswith("-A ")]
        chains = {chain for chain in declared if _is_ours(chain, rules, network)}
        jumps = [rule for rule in rules if _chain(rule) not in chains and _target(rule) in chains]
        if not chains and not jumps:
            continue
        # Declaring a chain flushes it, so no order of removal leaves one that is still referred to.
        output += [f"*{table}", *(f":{chain} - [0:0]" for chain in sorted(chains))]
        output += [f"-D{rule[2:]}" for rule in jumps]
        output += [*(f"-X {chain}" for chain in sorted(chains)), "COMMIT"]
    return "\n".join([*output, ""]) if output else ""


def _tables(saved: str) -> Iterable[tuple[str, list[str]]]:
    table, lines = "", list[str]()
    for line in saved.splitlines():
        if line.startswith("*"):
            table, lines = line[1:], []
        elif line == "COMMIT":
            yield table, lines
        else:
            lines.append(line)


def _chain(rule: str) -> str:
    return rule.split()[1]


def _target(rule: str) -> str:
    match = re.search(r"(?:^| )-[jg] (\S+)", rule)
    return match.group(1) if match else ""


def _is_ours(chain: str, rules: Iterable[str], network: str) -> bool:
    if chain == CHAIN or chain.startswith("KUBE-"):
        return True
    mentions = f'name: "{network}"', f'name: \\"{network}\\"'
    return chain.startswith("CNI-") and any(
        chain in (_chain(rule), _target(rule)) and any(mention in rule for mention in mentions)
        for rule in rules
    )


def remove(settings: Settings) -> None:
    """Take out every rule and chain of the cluster, IPv4 and IPv6."""
    for family in FAMILIES:
        if text := removal(_save(family), settings.network.name):
            _restore(family, text)


def remaining(settings: Settings) -> list[str]:
    """The lines that `remove` would still have to deal with."""
    return [
        line
        for family in FAMILIES
        for line in removal(_save(family), settings.network.name).splitlines()
        if line.startswith("-")
    ]


def _save(family: str) -> str:
    return attempt(f"{family}-save").stdout  # a kernel without IPv6 has none


def _restore(family: str, text: str) -> None:
    run(f"{family}-restore", "--noflush", "--wait=10", stdin=text.encode())
