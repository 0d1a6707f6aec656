"""What a broker in production needs, in one folder to copy to it: the same configuration as everywhere, no root key."""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath

from edge.fleet.broker.configuration import DEFAULT_PORT, BrokerFiles, BrokerLimits, acl_text, configuration_text
from edge.fleet.pki.authority import Pki
from edge.fleet.pki.files import make_folder, read_file, write_private, write_public

HOME = PurePosixPath("/etc/mosquitto/edge")
DATA = PurePosixPath("/var/lib/mosquitto")
UNIT = PurePosixPath("/etc/systemd/system/mosquitto.service.d/edge.conf")
CONFIGURATION, ACL, CA, CRL, CERTIFICATE, KEY = "mosquitto.conf", "acl", "ca.pem", "crl.pem", "broker.pem", "broker.key"
UNIT_FILE = "edge.conf"


def broker_files(home: PurePath, data: PurePath) -> BrokerFiles:
    """Names below `home`."""
    return BrokerFiles(
        data=data, ca=home / CA, certificate=home / CERTIFICATE, key=home / KEY, crl=home / CRL, acl=home / ACL
    )


def production_text(
    *, home: PurePath = HOME, data: PurePath = DATA, host: str | None = None, port: int = DEFAULT_PORT,
    limits: BrokerLimits | None = None,
) -> str:  # fmt: skip
    """mosquitto.conf for a broker whose files lie below `home`; it runs as the user mosquitto. Errors: SpecError."""
    return configuration_text(broker_files(home, data), host=host, port=port, user="mosquitto", limits=limits)


def unit_text(home: PurePath = HOME, limits: BrokerLimits | None = None) -> str:
    """A drop-in for Debian's mosquitto.service: this configuration, files enough, memory, rights."""
    limits = limits if limits is not None else BrokerLimits()
    return f"""# {UNIT}, then `systemctl daemon-reload`
[Service]
ExecStart=
ExecStart=/usr/sbin/mosquitto -c {home / CONFIGURATION}
LimitNOFILE={limits.connections + 1000}
MemoryMax={limits.memory_bytes * 3 // 2}
NoNewPrivileges=yes
ProtectSystem=full
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
LimitCORE=0
"""


def write_production(
    pki: Pki, folder: Path, *, home: PurePath = HOME, data: PurePath = DATA, host: str | None = None,
    port: int = DEFAULT_PORT, limits: BrokerLimits | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """Write the broker's files into `folder`, over those of an earlier time. Errors: SpecError, ResourceError."""
    texts = {
        CONFIGURATION: production_text(home=home, data=data, host=host, port=port, limits=limits).encode(),
        ACL: acl_text(pki.revoked_names()).encode(),
        UNIT_FILE: unit_text(home, limits).encode(),
    }
    restore = "restore the PKI's folder from its backup"
    files = {CA: pki.ca, CRL: pki.crl, CERTIFICATE: pki.certificate_of("broker")}
    make_folder(folder, 0o750)
    for name, path in files.items():
        texts[name] = read_file(path, restore)
    for name, data_bytes in texts.items():
        write_public(folder / name, data_bytes)
    write_private(folder / KEY, read_file(pki.key_of("broker"), restore))
    return tuple(folder / name for name in (*texts, KEY))


def hints(folder: Path, home: PurePath = HOME) -> str:
    """What to type on the broker, once `folder` lies there."""
    return f"""on the broker, as root (the folder {folder.name}/ copied there):
  apt install mosquitto
  install -d -m 0750 -g mosquitto {home}
  install -m 0640 -g mosquitto {folder.name}/{CONFIGURATION} {folder.name}/{ACL} {folder.name}/*.pem \
{folder.name}/{KEY} {home}/
  install -D -m 0644 {folder.name}/{UNIT_FILE} {UNIT}
  systemctl daemon-reload && systemctl restart mosquitto
after `edge fleet revoke` and a new `broker-config`: install {ACL} and {CRL} again, then `systemctl reload mosquitto`"""
