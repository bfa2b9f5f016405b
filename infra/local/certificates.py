"""Make the cluster's certificates: one authority, a server or client certificate per component.

Files under `pki/` are made once and kept; those about to expire, or whose names changed, are made again.
"""

import datetime
import hashlib
import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.local.settings import Settings

LIFETIME = datetime.timedelta(days=365 * 5)
RENEW_BEFORE = datetime.timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a certificate is for. `hosts` (names and addresses) make it good for a server as well."""

    file: str
    user: str
    group: str = ""
    hosts: tuple[str, ...] = ()
    authority: str = "ca"


def identities(settings: Settings) -> tuple[Identity, ...]:
    """Every certificate of the cluster, by file name in `pki/`."""
    net = settings.network
    api_hosts = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{net.domain}",
        "localhost",
        "127.0.0.1",
        net.kubernetes_ip,
        net.node_ip,
    )
    metrics_hosts = ("metrics-server.kube-system.svc", net.node_ip)
    node = settings.node_name
    return (
        Identity(file="apiserver", user="kube-apiserver", hosts=api_hosts),
        Identity(file="etcd", user="etcd", hosts=("127.0.0.1", "localhost")),
        Identity(file="kubelet", user=f"system:node:{node}", group="system:nodes", hosts=(node, net.node_ip)),
        Identity(file="metrics-server", user="task-queue:metrics-server", hosts=metrics_hosts),
        Identity(file="admin", user="task-queue-admin", group="system:masters"),
        # The API server's own client certificate for kubelets (exec, logs, metrics).
        Identity(file="apiserver-kubelet", user="kube-apiserver-kubelet-client", group="system:masters"),
        Identity(file="controller-manager", user="system:kube-controller-manager"),
        Identity(file="scheduler", user="system:kube-scheduler"),
        Identity(file="kube-proxy", user="system:kube-proxy"),
        Identity(file="coredns", user="task-queue:coredns"),
        Identity(file="volumes", user="task-queue:volumes"),
        # What the API server shows to metrics-server; an authority of its own, or any client
        # certificate of the cluster could name any user there.
        Identity(file="front-proxy", user="front-proxy-client", authority="front-proxy-ca"),
    )


AUTHORITIES = ("ca", "front-proxy-ca")
SERVICE_ACCOUNT_KEY = "service-account"


def ensure(pki: Path, settings: Settings, now: datetime.datetime) -> str:
    """Make what is missing, changed or about to expire. Returns a fingerprint of all of it."""
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    pki.chmod(0o700)
    wanted = json.dumps([asdict(identity) for identity in identities(settings)], sort_keys=True)
    record = pki / "identities.json"
    if not (record.exists() and record.read_text() == wanted and not _expires(pki, now)):
        record.unlink(missing_ok=True)
        _make_all(pki, settings, now)
        write_private(record, wanted.encode())  # last: an interrupted run makes all of it again
    digest = hashlib.sha256()
    for path in sorted(pki.glob("*.crt")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _expires(pki: Path, now: datetime.datetime) -> bool:
    return any(
        x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc < now + RENEW_BEFORE
        for path in pki.glob("*.crt")
    )


def _make_all(pki: Path, settings: Settings, now: datetime.datetime) -> None:
    authorities: dict[str, tuple[x509.Certificate, ec.EllipticCurvePrivateKey]] = {}
    for name in AUTHORITIES:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"task-queue-{name}")])
        builder = _builder(subject, subject, key, now).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        certificate = builder.add_extension(_key_usage(signs=True), critical=True).sign(key, hashes.SHA256())
        authorities[name] = (certificate, key)
        _write(pki / name, certificate, key)
    for identity in identities(settings):
        issuer, issuer_key = authorities[identity.authority]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(identity), issuer.subject, key, now)
        for extension, critical in _leaf_extensions(identity):
            builder = builder.add_extension(extension, critical=critical)
        _write(pki / identity.file, builder.sign(issuer_key, hashes.SHA256()), key)
    _write_service_account_key(pki)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    # An hour back: a clock that is set while the machine starts must not refuse its own certificates.
    return builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + LIFETIME)


def _subject(identity: Identity) -> x509.Name:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, identity.user)]
    if identity.group:
        names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.group))
    return x509.Name(names)


def _leaf_extensions(identity: Identity) -> Iterator[tuple[x509.ExtensionType, bool]]:
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.hosts:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        yield x509.SubjectAlternativeName([_general_name(host) for host in identity.hosts]), False
    yield x509.ExtendedKeyUsage(usages), False
    yield _key_usage(signs=False), True
    yield x509.BasicConstraints(ca=False, path_length=None), True


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    write_private(stem.with_name(f"{stem.name}.key"), _private_pem(key))
    write_private(stem.with_name(f"{stem.name}.crt"), certificate.public_bytes(serialization.Encoding.PEM))


def _write_service_account_key(pki: Path) -> None:
    """The key that signs service account tokens; kept when certificates are renewed, or tokens would end."""
    path = pki / f"{SERVICE_ACCOUNT_KEY}.key"
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_private(path.with_suffix(".pub"), public)
        write_private(path, _private_pem(key))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
